import { h, place, duration, plural, colourOf, severityClass, severity } from './dom.js';
import { visible } from './model.js';
import { Virtual } from './virtual.js';

// The waterfall: a row a span, under its parent, and its bar where it ran.
export class Waterfall {
  constructor({ onSelect, onLog }) {
    this.onSelect = onSelect;
    this.onLog = onLog;
    this.critical = true;
    this.matches = null;
    this.ruler = h('div', { class: 'ruler', 'aria-hidden': 'true' });
    this.grid = h('div', { class: 'grid fall', id: 'waterfall', role: 'treegrid', tabindex: '0', 'aria-label': 'Spans' },
      h('div', { class: 'row head', role: 'row', 'aria-rowindex': '1' },
        h('div', { role: 'columnheader', class: 'w0' }, 'Span'), h('div', { role: 'columnheader', class: 'w1' }, h('span', { class: 'sr' }, 'Time'), this.ruler)));
    this.list = new Virtual(this.grid, {
      height: 28, header: 30, key: (i) => this.rows[i].n, render: (i) => this.row(this.rows[i]),
      onSelect: (i) => this.onSelect(this.rows[i]),
    });
    this.rows = [];
    this.grid.addEventListener('click', (e) => {
      const tick = e.target.closest('[data-log]');
      if (tick) this.onLog(Number(tick.dataset.log));
      const toggle = e.target.closest('[data-toggle]');
      if (toggle) this.toggle(this.rows[Number(toggle.closest('[data-index]').dataset.index)]);
    });
  }

  set(model) {
    const folded = new Set((this.model?.nodes ?? []).filter((n) => !n.open).map((n) => n.span.id));
    for (const node of model.nodes) node.open = !folded.has(node.span.id);
    this.model = model;
    this.drawRuler();
    this.refresh();
  }

  refresh() {
    const selected = this.list.selected >= 0 ? this.rows[this.list.selected] : null;
    this.rows = visible(this.model);
    this.list.selected = selected ? this.rows.findIndex((n) => n.span.id === selected.span.id) : -1;
    this.list.forget();
    this.list.set(this.rows.length);
  }

  drawRuler() {
    const marks = [];
    for (const part of [0, 0.25, 0.5, 0.75, 1]) {
      marks.push(place(h('span', { class: part === 1 ? 'last' : '' }, part === 0 ? '0' : duration(this.model.length * part)), part * 100));
    }
    this.ruler.replaceChildren(...marks);
  }

  row(node) {
    const s = node.span;
    const at = (ns) => (Math.max(0, Math.min(ns, this.model.length)) / this.model.length) * 100;
    const left = at(s.at);
    const width = Math.max(0, at(node.end) - left);
    const bar = place(h('div', { class: `span-bar ${colourOf(s.service)}${s.failed ? ' failed' : ''}` }), left, width);
    const label = h('span', { class: 'length' }, duration(s.duration));
    if (left + width > 82) {
      label.classList.add('before');
      label.style.right = `${100 - left}%`;
      if (left < 18) label.className = 'length within';
    } else {
      label.style.left = `${left + width}%`;
    }
    const path = this.critical ? node.segments.map(([from, to]) => place(h('i', { class: 'critical' }), at(from), Math.max(0, at(to) - at(from)))) : [];
    const ticks = node.logs.map((l) => place(h('i', { class: `tick ${severityClass(l.level)}`, 'data-log': l.number, title: `${severity(l.level)} ${l.message}` }), at(l.at)));
    const name = h('div', { role: 'gridcell', class: 'w0' },
      node.children.length
        ? h('span', { class: `toggle${node.open ? ' open' : ''}`, 'data-toggle': '1', 'aria-hidden': 'true' }, node.open ? '' : h('small', {}, String(node.below)))
        : h('span', { class: 'toggle none' }),
      h('i', { class: `dot ${colourOf(s.service)}` }), h('span', { class: 'label' }, s.name || '(no name)'),
      s.failed && h('span', { class: 'tag error' }, 'error'), node.orphan && h('span', { class: 'tag', title: `The parent ${s.parent} has not come` }, 'no parent'),
      h('span', { class: 'dim who' }, s.service));
    name.style.setProperty('--depth', Math.min(node.depth, 24));
    const row = h('div', {
      class: `row${s.failed ? ' failed' : ''}${this.matches && !this.matches.has(node) ? ' faded' : ''}`, role: 'row', 'aria-level': String(node.depth + 1),
      'aria-label': describe(node), 'data-span': s.id,
    }, name, h('div', { role: 'gridcell', class: 'w1' }, bar, ...path, ...ticks, label));
    if (node.children.length) row.setAttribute('aria-expanded', String(node.open));
    return row;
  }

  toggle(node, open = !node.open) {
    if (!node.children.length || node.open === open) return false;
    node.open = open;
    this.refresh();
    return true;
  }

  // select shows a span, whatever is folded above it.
  select(node, scroll = true) {
    let folded = false;
    for (let p = node.parent; p; p = p.parent) {
      folded ||= !p.open;
      p.open = true;
    }
    if (folded) this.refresh();
    const i = this.rows.indexOf(node);
    this.list.selected = i;
    if (scroll) this.list.reveal(i);
    this.list.drawNow();
  }

  setCritical(on) {
    this.critical = on;
    this.refresh();
  }

  // search fades what does not match, and returns what does.
  search(text) {
    const term = text.trim().toLowerCase();
    const found = term ? this.model.nodes.filter((n) => [n.span.name, n.span.service, n.span.resource, n.span.message, n.span.id, ...n.logs.map((l) => l.message)]
      .some((v) => v?.toLowerCase().includes(term))) : null;
    this.matches = found && new Set(found);
    this.refresh();
    return this.rows.filter((n) => this.matches?.has(n));
  }

  keyed(e) {
    const node = this.rows[this.list.selected];
    if (e.key === 'ArrowLeft' && node) {
      if (!this.toggle(node, false) && node.parent) this.list.select(this.rows.indexOf(node.parent));
      return true;
    }
    if (e.key === 'ArrowRight' && node) {
      if (!this.toggle(node, true) && node.children.length) this.list.select(this.list.selected + 1);
      return true;
    }
    return this.list.keyed(e);
  }
}

function describe(node) {
  const s = node.span;
  const parts = [s.name, s.service, duration(s.duration)];
  if (s.failed) parts.push(`error ${s.message ?? ''}`.trim());
  if (node.logs.length) parts.push(plural(node.logs.length, 'log record'));
  if (node.segments.length) parts.push('on the critical path');
  return parts.join(', ');
}
