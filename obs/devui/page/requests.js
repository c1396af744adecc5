import { h, duration, clock, plural, severity, severityClass, colourOf, statusClass, debounced } from './dom.js';
import { go, link } from './route.js';
import { Virtual } from './virtual.js';
import { Plot } from './plot.js';

const filters = ['q', 'service', 'route', 'status', 'min', 'level', 'failed'];

// The list of recent requests, newest first.
export class Requests {
  constructor(app) {
    this.app = app;
    this.rows = new Map(); // by id
    this.shown = [];
    this.versions = new Map();
    this.facets = { services: [], routes: [] };
    this.brush = null;
    this.selected = '';
    this.build();
  }

  build() {
    this.plot = new Plot((brush) => { this.brush = brush; this.refresh(true); });
    this.fields = {
      service: select('Service', 'Any service'),
      route: select('Route', 'Any route'),
      status: select('Status', 'Any status', ['2xx', '3xx', '4xx', '5xx']),
      min: h('input', { type: 'text', size: '7', placeholder: 'Min 20ms', 'aria-label': 'Minimum duration, such as 20ms', autocomplete: 'off', spellcheck: 'false' }),
      level: select('Log level', 'Any log level', [['warn', 'Log ≥ WARN'], ['error', 'Log ≥ ERROR'], ['info', 'Log ≥ INFO'], ['debug', 'Any log']]),
    };
    for (const [name, el] of Object.entries(this.fields)) {
      const changed = () => this.setParam(name, el.value.trim().replace(/^(\d+(\.\d+)?)$/, '$1ms'));
      el.addEventListener(name === 'min' ? 'input' : 'change', name === 'min' ? debounced(changed, 250) : changed);
    }
    this.failed = h('button', { type: 'button', class: 'chip', 'aria-pressed': 'false', onclick: () => this.setParam('failed', this.app.route.params.get('failed') ? '' : '1') }, 'Errors');
    this.reset = h('button', { type: 'button', class: 'chip quiet', hidden: true, onclick: () => { this.plot.setBrush(null); go({ view: 'requests', params: new URLSearchParams() }, true); } }, 'Reset');
    this.count = h('span', { class: 'count', role: 'status' });
    this.grid = h('div', { class: 'grid', id: 'requests', role: 'grid', tabindex: '0', 'aria-label': 'Requests, newest first' },
      h('div', { class: 'row head', role: 'row', 'aria-rowindex': '1' },
        ...['Time', 'Request', 'Service', 'Status', 'Duration', 'Spans', 'Logs'].map((t, i) => h('div', { role: 'columnheader', class: `c${i}` }, t))));
    this.empty = h('div', { class: 'empty' });
    this.el = h('section', { class: 'view requests', 'aria-label': 'Requests' },
      h('h1', { class: 'sr' }, 'Requests'),
      h('div', { class: 'filters', role: 'group', 'aria-label': 'Filters' }, ...Object.values(this.fields), this.failed, this.reset, this.count),
      this.plot.el, this.grid, this.empty);
    this.list = new Virtual(this.grid, {
      height: 34, header: 30, key: (i) => `${this.shown[i].id}/${this.versions.get(this.shown[i].id)}`, render: (i) => this.row(this.shown[i]),
      onSelect: (i) => { this.selected = this.shown[i]?.id ?? ''; },
      onOpen: (i) => this.open(this.shown[i]),
    });
    this.list.openOnClick = true;
  }

  // show is called when the view is, and at each change of the address.
  show(params) {
    for (const [name, el] of Object.entries(this.fields)) if (document.activeElement !== el) setValue(el, params.get(name) ?? '');
    this.failed.setAttribute('aria-pressed', String(Boolean(params.get('failed'))));
    this.reset.hidden = !filters.some((f) => params.get(f)) && !this.brush;
    this.list.drawNow();
  }

  query(params) {
    const query = { want: 'traces' };
    for (const f of filters) if (params.get(f)) query[f] = params.get(f);
    return query;
  }

  setParam(name, value) {
    const params = new URLSearchParams(this.app.route.params);
    params.set(name, value);
    go({ view: 'requests', params }, true);
  }

  update(u, all) {
    if (all) {
      this.rows.clear();
      if (u.facets) this.facets = u.facets;
    }
    for (const row of u.traces ?? []) {
      this.rows.set(row.id, row);
      this.versions.set(row.id, (this.versions.get(row.id) ?? 0) + 1);
      this.learn(row);
    }
    for (const [id, row] of this.rows) {
      if (row.number >= u.oldest) continue;
      this.rows.delete(id);
      this.versions.delete(id);
    }
    this.offer();
    this.refresh(all);
  }

  learn(row) {
    for (const s of row.services ?? [row.service]) if (!this.facets.services.includes(s)) this.facets.services.push(s);
    if (row.route && !this.facets.routes.includes(row.route)) this.facets.routes.push(row.route);
  }

  offer() {
    options(this.fields.service, this.facets.services);
    options(this.fields.route, this.facets.routes);
  }

  refresh(all) {
    const before = this.shown[0]?.id;
    const rows = [...this.rows.values()];
    const b = this.brush;
    this.shown = (b ? rows.filter((r) => r.at >= b.t0 && r.at <= b.t1 && r.duration >= b.d0 && r.duration <= b.d1) : rows)
      .sort((x, y) => y.at - x.at || y.number - x.number);
    this.longest = this.shown.reduce((m, r) => Math.max(m, r.duration), 1);
    this.plot.set(rows);
    // Who has scrolled down to look at something goes on seeing it.
    const moved = !all && this.grid.scrollTop > 0 ? this.shown.findIndex((r) => r.id === before) : 0;
    this.list.selected = this.selected ? this.shown.findIndex((r) => r.id === this.selected) : -1;
    if (this.drawnLongest !== this.longest) this.list.forget();
    this.drawnLongest = this.longest;
    this.list.set(this.shown.length);
    if (moved > 0) this.grid.scrollTop += moved * this.list.height;
    this.count.textContent = plural(this.shown.length, 'request');
    this.reset.hidden = !filters.some((f) => this.app.route.params.get(f)) && !b;
    this.explain();
  }

  explain() {
    this.empty.hidden = this.shown.length > 0;
    if (this.shown.length) return;
    const filtered = filters.some((f) => this.app.route.params.get(f)) || this.brush;
    this.empty.replaceChildren(h('p', { class: 'big' }, filtered ? 'Nothing matches.' : 'No requests yet.'),
      h('p', {}, filtered ? 'Loosen a filter, or press esc to leave the search.' : 'Make one, and it appears here at once.'));
  }

  row(r) {
    const where = r.path || r.route;
    const title = r.method && where ? [h('b', { class: 'method' }, r.method), ' ', where] : [r.name || '(no name)'];
    const bar = h('i', { class: 'bar' });
    bar.style.width = `${Math.max(1.5, (r.duration / this.longest) * 100)}%`;
    return h('div', { class: `row${r.failed ? ' failed' : ''}`, role: 'row' },
      cell(0, 'time', clock(r.at)),
      cell(1, 'name', h('a', { href: link('trace', r.id), tabindex: '-1', title: r.name }, ...title),
        r.path && r.route && r.path !== r.route && h('span', { class: 'dim route' }, r.route),
        r.open && h('span', { class: 'tag', title: 'The root span has not come' }, 'open'),
        r.failed && h('span', { class: 'tag error' }, 'error')),
      cell(2, 'service', h('i', { class: `dot ${colourOf(r.service)}` }), r.service, r.services && h('span', { class: 'dim' }, ` +${r.services.length - 1}`)),
      cell(3, 'status', r.status ? h('span', { class: `code ${statusClass(r.status)}` }, String(r.status)) : h('span', { class: 'dim' }, '–')),
      cell(4, 'duration', h('span', {}, duration(r.duration)), h('span', { class: 'track', 'aria-hidden': 'true' }, bar)),
      cell(5, 'number', String(r.spans)),
      cell(6, 'number', r.logs ? h('span', { class: r.level >= 4 ? severityClass(r.level) : '', title: r.level === undefined ? '' : `up to ${severity(r.level)}` }, String(r.logs)) : h('span', { class: 'dim' }, '0')));
  }

  open(row) {
    if (row) go({ view: 'trace', id: row.id, params: new URLSearchParams() });
  }

  keyed(e) { return this.list.keyed(e); }
  focus() { this.grid.focus({ preventScroll: true }); }
}

function cell(i, kind, ...children) {
  return h('div', { role: 'gridcell', class: `c${i} ${kind}` }, ...children);
}

export function select(label, any, values = []) {
  const el = h('select', { 'aria-label': label }, h('option', { value: '' }, any));
  options(el, values);
  return el;
}

// options adds the values that el does not offer yet.
function options(el, values) {
  const known = new Set([...el.options].map((o) => o.value));
  for (const v of values) {
    const [value, text] = Array.isArray(v) ? v : [v, v];
    if (!known.has(value)) el.append(h('option', { value }, text));
  }
}

function setValue(el, value) {
  if (el.tagName === 'SELECT') options(el, [value]);
  el.value = value;
}

