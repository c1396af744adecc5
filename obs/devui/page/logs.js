import { h, clock, dateTime, plural, severity, severityClass } from './dom.js';
import { go, link } from './route.js';
import { Virtual } from './virtual.js';
import { select } from './requests.js';

const maxRows = 20000;

// The log tail, newest at the end, which it follows until somebody scrolls.
export class Logs {
  constructor(app) {
    this.app = app;
    this.rows = [];
    this.follow = true;
    this.level = select('Level', 'All levels', [['info', 'INFO and above'], ['warn', 'WARN and above'], ['error', 'ERROR and above']]);
    this.level.addEventListener('change', () => this.setParam('level', this.level.value));
    this.end = h('button', { type: 'button', class: 'chip', hidden: true, onclick: () => this.toEnd() }, 'Follow ↓');
    this.count = h('span', { class: 'count', role: 'status' });
    this.grid = h('div', { class: 'grid tail', id: 'logs', role: 'grid', tabindex: '0', 'aria-label': 'Log records, newest last' },
      h('div', { class: 'row head', role: 'row', 'aria-rowindex': '1' },
        ...['Time', 'Level', 'Message', 'Trace'].map((t, i) => h('div', { role: 'columnheader', class: `l${i}` }, t))));
    this.empty = h('div', { class: 'empty' });
    this.record = h('aside', { class: 'record', 'aria-label': 'Selected record', tabindex: '0', hidden: true });
    this.el = h('section', { class: 'view logs', 'aria-label': 'Logs' }, h('h1', { class: 'sr' }, 'Logs'),
      h('div', { class: 'filters', role: 'group', 'aria-label': 'Filters' }, this.level, this.end, this.count), this.grid, this.empty, this.record);
    this.list = new Virtual(this.grid, {
      height: 28, header: 30, key: (i) => this.rows[i].number, render: (i) => this.row(this.rows[i]),
      onSelect: (i) => this.choose(this.rows[i]),
      onOpen: (i) => this.open(this.rows[i]),
    });
    this.grid.addEventListener('scroll', () => {
      if (!this.moving) this.setFollow(this.grid.scrollTop + this.grid.clientHeight >= this.grid.scrollHeight - 40);
    }, { passive: true });
  }

  show(params) {
    this.level.value = params.get('level') ?? '';
    this.wanted = Number(params.get('at')) || 0;
    this.list.drawNow();
    if (this.wanted) this.find();
  }

  query(params) {
    const query = { want: 'logs' };
    for (const f of ['q', 'level']) if (params.get(f)) query[f] = params.get(f);
    return query;
  }

  setParam(name, value) {
    const params = new URLSearchParams(this.app.route.params);
    params.set(name, value);
    params.delete('at');
    go({ view: 'logs', params }, true);
  }

  update(u, all) {
    if (all) this.rows = [];
    this.rows.push(...(u.logs ?? []));
    if (this.rows.length > maxRows) this.rows.splice(0, this.rows.length - maxRows);
    this.list.selected = this.selected ? this.rows.findIndex((r) => r.number === this.selected) : -1;
    this.list.set(this.rows.length);
    this.count.textContent = plural(this.rows.length, 'record');
    this.empty.hidden = this.rows.length > 0;
    this.empty.replaceChildren(h('p', { class: 'big' }, 'No records.'), h('p', {}, 'What the program logs appears here as it is written.'));
    if (this.wanted) this.find();
    else if (this.follow) this.toEnd();
  }

  // find shows the record that the address names, once.
  find() {
    const i = this.rows.findIndex((r) => r.number === this.wanted);
    if (i < 0) return;
    this.wanted = 0;
    this.setFollow(false);
    this.list.select(i);
    this.list.reveal(i, true);
    this.list.drawNow();
  }

  setFollow(follow) {
    this.follow = follow;
    this.end.hidden = follow;
  }

  toEnd() {
    this.setFollow(true);
    this.moving = true;
    this.grid.scrollTop = this.grid.scrollHeight;
    this.list.drawNow();
    requestAnimationFrame(() => { this.moving = false; });
  }

  row(r) {
    const kind = severityClass(r.level);
    return h('div', { class: `row ${kind}`, role: 'row', title: r.source ?? '' },
      h('div', { role: 'gridcell', class: 'l0 time' }, clock(r.time)),
      h('div', { role: 'gridcell', class: 'l1' }, h('span', { class: `level ${kind}` }, severity(r.level))),
      h('div', { role: 'gridcell', class: 'l2' }, h('span', { class: 'message' }, r.message), ...fields(r.attributes)),
      h('div', { role: 'gridcell', class: 'l3' }, r.trace && h('a', { href: jump(r), tabindex: '-1', 'aria-label': `Trace ${r.trace.slice(-8)}` }, r.trace.slice(-8))));
  }

  // choose shows all of a record, which its row has no room for.
  choose(r) {
    this.selected = r?.number;
    this.setFollow(!r && this.follow);
    this.record.hidden = !r;
    if (!r) {
      this.list.selected = -1;
      this.list.drawNow();
      return;
    }
    const facts = { ...r.attributes, time: dateTime(r.time), source: r.source, trace: r.trace };
    this.record.replaceChildren(h('h2', {}, h('span', { class: `level ${severityClass(r.level)}` }, severity(r.level)), ' ', r.message),
      h('dl', {}, ...Object.entries(facts).filter(([, v]) => v !== undefined && v !== '').map(([k, v]) => h('div', {}, h('dt', {}, k),
        h('dd', {}, k === 'trace' && v === r.trace ? h('a', { href: jump(r) }, v) : show(v))))));
  }

  // escape closes the record, and reports whether there was one.
  escape() {
    if (this.record.hidden) return false;
    this.choose(null);
    return true;
  }

  open(r) {
    if (r?.trace) go({ view: 'trace', id: r.trace, params: new URLSearchParams({ span: r.span ?? '', log: r.number }) });
  }

  keyed(e) { return this.list.keyed(e); }
  focus() { this.grid.focus({ preventScroll: true }); }
}

function jump(r) {
  return link('trace', r.trace, { span: r.span ?? '', log: r.number });
}

// fields shows a record's attributes on one line.
export function fields(attributes) {
  return Object.entries(attributes ?? {}).map(([k, v]) => h('span', { class: 'field' }, h('span', { class: 'key' }, k), '=', show(v)));
}

function show(v) {
  return typeof v === 'string' ? v : JSON.stringify(v);
}
