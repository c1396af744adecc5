import { h, duration, dateTime, plural, colourOf, copyButton } from './dom.js';
import { fetchJSON } from './stream.js';
import { build } from './model.js';
import { Waterfall } from './waterfall.js';
import { spanPanel, records } from './panel.js';

// One trace: the waterfall, and beside it what is known of the selected span.
export class Trace {
  constructor(app) {
    this.app = app;
    this.imported = new Map();
    this.fall = new Waterfall({ onSelect: (node) => this.choose(node), onLog: (number) => this.chooseLog(number) });
    this.title = h('h1', {});
    this.meta = h('p', { class: 'meta' });
    this.services = h('div', { class: 'legend' });
    this.critical = h('button', { type: 'button', class: 'chip', 'aria-pressed': 'true', title: 'Mark what the request waited for' , onclick: () => this.toggleCritical() }, 'Critical path');
    this.fold = h('button', { type: 'button', class: 'chip', onclick: () => this.foldAll() }, 'Fold all');
    this.file = h('a', { class: 'chip', download: '' }, 'Export');
    this.back = h('button', { type: 'button', class: 'chip', 'aria-label': 'Back', onclick: () => this.app.back() }, '← Back');
    this.panel = h('aside', { class: 'panel', 'aria-label': 'Details', tabindex: '0' });
    this.note = h('p', { class: 'note', role: 'status', hidden: true });
    this.el = h('section', { class: 'view trace', 'aria-label': 'Trace' },
      h('div', { class: 'heading' }, this.back, h('div', { class: 'titles' }, this.title, this.meta), h('div', { class: 'tools' }, this.critical, this.fold, this.file)),
      this.services, this.note, h('div', { class: 'split' }, this.fall.grid, this.panel));
  }

  async show(params, id) {
    const other = id !== this.id;
    this.id = id;
    if (other || !this.model) await this.load();
    if (this.id !== id || !this.model) return;
    const node = this.model.byID.get(params.get('span'));
    this.log = Number(params.get('log')) || 0;
    if (node) {
      this.fall.select(node);
      this.fill(node);
    } else {
      this.fall.list.drawNow();
      if (other) this.overview();
    }
  }

  query() { return { want: 'traces', trace: this.id }; }

  // update is told when more of the trace has come.
  update(u) {
    const row = u.traces?.find((t) => t.id === this.id);
    if (row && this.model && !this.imported.has(this.id) && (row.spans !== this.seen.spans || row.logs !== this.seen.logs)) this.load(true);
  }

  async load(again = false) {
    const id = this.id;
    performance.mark('trace-asked');
    try {
      const doc = this.imported.get(id) ?? await fetchJSON(`api/traces/${id}`);
      if (this.id === id) this.take(doc, again);
    } catch (err) {
      if (this.id === id && !again) this.fail(err);
    }
  }

  fail(err) {
    this.model = null;
    this.title.textContent = 'Trace not here';
    this.meta.textContent = err.message;
    this.services.replaceChildren();
    this.panel.replaceChildren();
    this.fall.set(build({ id: this.id, spans: [], logs: [] }));
  }

  take(doc, again) {
    const selected = again && this.node?.span.id;
    this.model = build(doc);
    this.seen = { spans: doc.spans.length + (doc.dropped ?? 0), logs: doc.logs.length || undefined };
    const root = this.model.roots.reduce((best, r) => (!best || r.span.duration > best.span.duration ? r : best), null);
    this.root = root;
    this.title.textContent = root ? root.span.resource || root.span.name : 'No spans yet';
    const failed = this.model.nodes.filter((n) => n.span.failed).length;
    this.meta.replaceChildren(duration(this.model.length), ' · ', plural(doc.spans.length, 'span'), ' · ', plural(doc.logs.length, 'log record'),
      failed ? h('span', { class: 'error' }, ` · ${plural(failed, 'error')}`) : '', ' · ', dateTime(Number(BigInt(doc.start || '0') / 1000n)), ' · ',
      h('code', {}, doc.id), ' ', copyButton(doc.id, 'the trace id'), this.imported.has(doc.id) ? h('span', { class: 'tag' }, 'from a file') : '');
    this.legend();
    this.setFile(doc);
    this.note.hidden = !doc.dropped;
    this.note.textContent = doc.dropped ? `${plural(doc.dropped, 'span')} beyond the bound of this trace were dropped.` : '';
    this.fall.set(this.model);
    this.node = selected ? this.model.byID.get(selected) : null;
    if (!this.node) this.overview();
    performance.measure('trace-opened', 'trace-asked');
  }

  setFile(doc) {
    if (this.blob) URL.revokeObjectURL(this.blob);
    this.blob = this.imported.has(doc.id) ? URL.createObjectURL(new Blob([JSON.stringify(doc)], { type: 'application/json' })) : '';
    this.file.href = this.blob || `api/traces/${doc.id}/file`;
    this.file.download = `trace-${doc.id}.json`;
  }

  legend() {
    const counts = new Map();
    for (const n of this.model.nodes) counts.set(n.span.service, (counts.get(n.span.service) ?? 0) + 1);
    this.services.replaceChildren(...[...counts].map(([service, count]) => h('span', {}, h('i', { class: `dot ${colourOf(service)}` }), service, h('span', { class: 'dim' }, ` ${count}`))));
  }

  // overview is the panel while no span is selected: the trace's records.
  overview() {
    this.node = null;
    const logs = this.model.doc.logs;
    this.panel.replaceChildren(h('header', {}, h('h2', {}, 'Log records'), h('p', { class: 'meta' }, logs.length ? 'of the whole trace, in order' : 'None was written within this trace.')), records(logs, this.log));
  }

  choose(node) {
    this.app.replaceParams({ span: node.span.id, log: '' });
  }

  chooseLog(number) {
    const log = this.model.doc.logs.find((l) => l.number === number);
    if (log) this.app.replaceParams({ span: log.span ?? '', log: String(number) });
  }

  async fill(node) {
    this.node = node;
    let detail = node.span.detail;
    if (!detail) {
      try {
        detail = await fetchJSON(`api/traces/${this.id}/spans/${node.n}`);
        node.span.detail = detail;
      } catch (err) {
        detail = { attributes: {}, source: err.message };
      }
    }
    if (this.node !== node) return;
    this.panel.replaceChildren(...spanPanel(this.model, node, detail, this.log));
    const chosen = this.panel.querySelector('.chosen');
    if (chosen) chosen.scrollIntoView({ block: 'center' });
    else this.panel.scrollTop = 0;
  }

  toggleCritical() {
    const on = this.critical.getAttribute('aria-pressed') !== 'true';
    this.critical.setAttribute('aria-pressed', String(on));
    this.fall.setCritical(on);
  }

  foldAll() {
    const open = this.model.nodes.some((n) => !n.open);
    for (const n of this.model.nodes) n.open = open || !n.children.length || !n.parent;
    this.fold.textContent = open ? 'Fold all' : 'Unfold all';
    this.fall.refresh();
  }

  search(text) {
    if (!this.model) return;
    const found = this.fall.search(text);
    if (found.length) this.fall.list.reveal(this.fall.rows.indexOf(found[0]));
  }

  keyed(e) {
    if (!this.model) return false;
    if (e.key === 'c') {
      this.toggleCritical();
      return true;
    }
    return this.fall.keyed(e);
  }

  focus() { this.fall.grid.focus({ preventScroll: true }); }
}

