import { h, framed, duration, clock } from './dom.js';

// A Plot shows each request as a point: when, and how long. Dragging over it
// keeps those within.
export class Plot {
  constructor(onBrush) {
    this.onBrush = onBrush;
    this.rows = [];
    this.brush = null;
    this.canvas = h('canvas', { role: 'img', 'aria-label': 'Latency of requests over time' });
    this.clear = h('button', { type: 'button', class: 'chip', hidden: true, onclick: () => this.setBrush(null) }, 'Clear selection');
    this.el = h('div', { class: 'plot' }, this.canvas, this.clear);
    this.draw = framed(() => this.drawNow());
    this.observer = new ResizeObserver(this.draw);
    this.observer.observe(this.el);
    this.scheme = matchMedia('(prefers-color-scheme: dark)');
    this.scheme.addEventListener('change', this.draw);
    this.canvas.addEventListener('pointerdown', (e) => this.down(e));
    this.canvas.addEventListener('pointermove', (e) => this.move(e));
    this.canvas.addEventListener('pointerup', () => this.up());
    this.canvas.addEventListener('pointercancel', () => { this.drag = null; this.draw(); });
  }

  destroy() {
    this.observer.disconnect();
    this.scheme.removeEventListener('change', this.draw);
  }

  set(rows) {
    this.rows = rows;
    this.draw();
  }

  setBrush(brush) {
    this.brush = brush;
    this.clear.hidden = !brush;
    this.onBrush(brush);
    this.draw();
  }

  // scales map microseconds and nanoseconds to pixels and back. Latency has a
  // logarithmic scale: what is slow is so by factors.
  scales() {
    const width = this.el.clientWidth;
    const height = this.el.clientHeight;
    let [t0, t1, d0, d1] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const r of this.rows) {
      t0 = Math.min(t0, r.at);
      t1 = Math.max(t1, r.at);
      d0 = Math.min(d0, r.duration);
      d1 = Math.max(d1, r.duration);
    }
    if (t1 - t0 < 1e6) [t0, t1] = [t0 - 5e5, t1 + 5e5];
    d0 = Math.log10(Math.max(1000, d0)) - 0.15;
    d1 = Math.max(Math.log10(Math.max(1000, d1)) + 0.15, d0 + 0.6);
    const box = { left: 58, right: width - 14, top: 10, bottom: height - 20 };
    return {
      box, width, height, t0, t1, d0, d1,
      x: (t) => box.left + ((t - t0) / (t1 - t0)) * (box.right - box.left),
      y: (d) => box.bottom - ((Math.log10(Math.max(1000, d)) - d0) / (d1 - d0)) * (box.bottom - box.top),
      t: (x) => t0 + ((x - box.left) / (box.right - box.left)) * (t1 - t0),
      d: (y) => 10 ** (d0 + ((box.bottom - y) / (box.bottom - box.top)) * (d1 - d0)),
    };
  }

  drawNow() {
    const s = this.scales();
    if (!s.width) return;
    const ratio = devicePixelRatio || 1;
    this.canvas.width = s.width * ratio;
    this.canvas.height = s.height * ratio;
    const c = this.canvas.getContext('2d');
    c.scale(ratio, ratio);
    const style = getComputedStyle(this.el);
    const colour = (name) => style.getPropertyValue(name).trim();
    c.font = `11px ${style.fontFamily}`;
    if (!this.rows.length) return;
    this.axes(c, s, colour);
    for (const failed of [false, true]) {
      c.fillStyle = colour(failed ? '--error' : '--accent');
      c.globalAlpha = failed ? 0.9 : 0.5;
      for (const r of this.rows) {
        if (Boolean(r.failed) !== failed) continue;
        c.beginPath();
        c.arc(s.x(r.at), s.y(r.duration), failed ? 3.2 : 2.8, 0, 7);
        c.fill();
      }
    }
    c.globalAlpha = 1;
    this.drawBrush(c, s, colour);
    const slow = this.rows.reduce((m, r) => Math.max(m, r.duration), 0);
    this.canvas.setAttribute('aria-label', `Latency of ${this.rows.length} requests over time, from ${clock(s.t0)} to ${clock(s.t1)}, the slowest ${duration(slow)}`);
  }

  axes(c, s, colour) {
    c.strokeStyle = colour('--line');
    c.fillStyle = colour('--dim');
    c.textBaseline = 'middle';
    c.textAlign = 'right';
    for (let e = Math.ceil(s.d0); e <= s.d1; e++) {
      const y = Math.round(s.y(10 ** e)) + 0.5;
      c.beginPath();
      c.moveTo(s.box.left, y);
      c.lineTo(s.box.right, y);
      c.stroke();
      c.fillText(duration(10 ** e).replace(/\.0+ /, ' '), s.box.left - 8, y);
    }
    c.textBaseline = 'alphabetic';
    const labels = Math.max(1, Math.floor((s.box.right - s.box.left) / 160));
    for (let i = 0; i <= labels; i++) {
      c.textAlign = i === 0 ? 'left' : i === labels ? 'right' : 'center';
      const t = s.t0 + ((s.t1 - s.t0) * i) / labels;
      c.fillText(clock(t).slice(0, 8), s.x(t), s.height - 5);
    }
  }

  drawBrush(c, s, colour) {
    let box = this.drag;
    if (!box && this.brush) {
      box = { x0: s.x(this.brush.t0), x1: s.x(this.brush.t1), y0: s.y(this.brush.d1), y1: s.y(this.brush.d0) };
    }
    if (!box) return;
    const [x, y] = [Math.min(box.x0, box.x1), Math.min(box.y0, box.y1)];
    const [w, hh] = [Math.abs(box.x1 - box.x0), Math.abs(box.y1 - box.y0)];
    c.globalAlpha = 0.12;
    c.fillStyle = colour('--accent');
    c.fillRect(x, y, w, hh);
    c.globalAlpha = 1;
    c.strokeStyle = colour('--accent');
    c.strokeRect(x + 0.5, y + 0.5, w, hh);
  }

  point(e) {
    const box = this.canvas.getBoundingClientRect();
    return [e.clientX - box.left, e.clientY - box.top];
  }

  down(e) {
    if (e.button !== 0 || !this.rows.length) return;
    const [x, y] = this.point(e);
    this.drag = { x0: x, y0: y, x1: x, y1: y };
    this.canvas.setPointerCapture(e.pointerId);
  }

  move(e) {
    if (!this.drag) return;
    [this.drag.x1, this.drag.y1] = this.point(e);
    this.draw();
  }

  up() {
    const box = this.drag;
    this.drag = null;
    if (!box) return;
    if (Math.abs(box.x1 - box.x0) < 4 && Math.abs(box.y1 - box.y0) < 4) {
      this.setBrush(null);
      return;
    }
    const s = this.scales();
    const [x0, x1] = [Math.min(box.x0, box.x1), Math.max(box.x0, box.x1)];
    const [y0, y1] = [Math.min(box.y0, box.y1), Math.max(box.y0, box.y1)];
    this.setBrush({ t0: s.t(x0), t1: s.t(x1), d0: s.d(y1) <= 1000 ? 0 : s.d(y1), d1: s.d(y0) });
  }
}
