import { debounced, plural } from './dom.js';
import { parse, format, go } from './route.js';
import { Stream } from './stream.js';
import { check } from './model.js';
import { Requests } from './requests.js';
import { Trace } from './trace.js';
import { Logs } from './logs.js';

const $ = (id) => document.getElementById(id);

// app holds the three views, of which one is seen, and the stream that feeds it.
const app = {
  views: {},
  route: parse(location.hash),
  paused: false,
  pending: [],

  start() {
    this.views = { requests: new Requests(this), trace: new Trace(this), logs: new Logs(this) };
    this.stream = new Stream((u, all) => this.update(u, all), (state) => this.setState(state));
    addEventListener('hashchange', () => this.show());
    addEventListener('keydown', (e) => this.keyed(e));
    $('search').addEventListener('input', debounced(() => this.search($('search').value), 180));
    $('live').addEventListener('click', () => this.setPaused(!this.paused));
    $('import').addEventListener('click', () => $('file').click());
    $('file').addEventListener('change', () => this.open($('file').files[0]));
    addEventListener('dragover', (e) => e.preventDefault());
    addEventListener('drop', (e) => {
      e.preventDefault();
      this.open(e.dataTransfer.files[0]);
    });
    this.show();
  },

  async show() {
    const before = this.route;
    this.route = parse(location.hash);
    const { view, id, params } = this.route;
    const shown = this.views[view];
    if ($('main').firstChild !== shown.el) {
      $('main').replaceChildren(shown.el);
      if (document.activeElement !== $('search')) shown.focus();
    }
    if (before.view !== 'trace') this.came = before;
    for (const name of ['requests', 'logs']) {
      const current = name === view || (view === 'trace' && this.from() === name);
      if (current) $(`nav-${name}`).setAttribute('aria-current', 'page');
      else $(`nav-${name}`).removeAttribute('aria-current');
    }
    if (document.activeElement !== $('search')) $('search').value = view === 'trace' ? '' : params.get('q') ?? '';
    this.pending = [];
    $('notice').textContent = '';
    const showing = shown.show(params, id);
    this.stream.open(shown.query(params));
    await showing;
    document.title = `${view === 'trace' ? shown.title.textContent : view === 'logs' ? 'Logs' : 'Requests'} · kumihimo`;
  },

  from() { return this.came?.view ?? 'requests'; },

  // back leaves a trace for where it was opened from.
  back() {
    go(this.came ?? { view: 'requests', params: new URLSearchParams() });
  },

  replaceParams(changes) {
    const params = new URLSearchParams(this.route.params);
    for (const [k, v] of Object.entries(changes)) params.set(k, v);
    go({ ...this.route, params }, true);
  },

  update(u, all) {
    this.setStatus(u.stats);
    if (this.paused && !all) {
      this.pending.push(u);
      const fresh = new Set(this.pending.flatMap((p) => [...(p.traces ?? []).map((t) => t.id), ...(p.logs ?? []).map((l) => l.number)]));
      this.label(`Paused · ${fresh.size} new`);
      return;
    }
    this.views[this.route.view].update(u, all);
  },

  setPaused(paused) {
    this.paused = paused;
    $('live').setAttribute('aria-pressed', String(!paused));
    this.label(paused ? 'Paused' : 'Live');
    const pending = this.pending;
    this.pending = [];
    if (!paused) for (const u of pending) this.views[this.route.view].update(u, false);
  },

  setState(state) {
    $('live').classList.toggle('lost', state !== 'open');
    if (!this.paused) this.label({ open: 'Live', lost: 'Reconnecting', refused: 'Refused' }[state]);
  },

  label(text) {
    const el = $('live').querySelector('span');
    if (el.textContent !== text) el.textContent = text;
  },

  setStatus(s) {
    const lost = s.droppedSpans + s.droppedLogs;
    const text = `${plural(s.traces, 'trace')}, ${plural(s.spans, 'span')}, ${plural(s.logs, 'record')} · ${(s.bytes / 1048576).toFixed(1)} of ${Math.round(s.maxBytes / 1048576)} MiB${lost ? ` · ${lost} dropped` : ''}`;
    if ($('status').textContent !== text) $('status').textContent = text;
  },

  search(text) {
    if (this.route.view === 'trace') {
      this.views.trace.search(text);
      return;
    }
    this.replaceParams({ q: text.trim() });
  },

  async open(file) {
    $('file').value = '';
    if (!file) return;
    try {
      const doc = check(JSON.parse(await file.text()));
      this.views.trace.imported.set(doc.id, doc);
      this.views.trace.id = '';
      const route = { view: 'trace', id: doc.id, params: new URLSearchParams() };
      if (format(route) === location.hash) this.show();
      else go(route);
    } catch (err) {
      $('notice').textContent = `Not opened: ${err.message}`;
    }
  },

  keyed(e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const field = e.target.closest('input, select, textarea');
    if (e.key === 'Escape') {
      this.escape(field);
      e.preventDefault();
      return;
    }
    if (field) {
      if (e.key === 'Enter' && field === $('search')) this.views[this.route.view].focus();
      return;
    }
    if (e.key === 'Enter' && e.target.closest('a, button, summary')) return;
    if (/^(Arrow|Page|Home|End)/.test(e.key) && e.target.closest('aside, pre')) return;
    if (this.shortcut(e.key) || this.views[this.route.view].keyed(e)) e.preventDefault();
  },

  shortcut(key) {
    switch (key) {
      case '/':
        $('search').focus();
        $('search').select();
        return true;
      case 'p':
        this.setPaused(!this.paused);
        return true;
      default:
        return false;
    }
  },

  escape(field) {
    if (field) {
      if (field === $('search') && field.value) {
        field.value = '';
        this.search('');
      }
      field.blur();
      this.views[this.route.view].focus();
      return;
    }
    if (this.route.view === 'trace') {
      if (this.route.params.get('span')) {
        this.views.trace.overview();
        this.replaceParams({ span: '', log: '' });
        return;
      }
      this.back();
      return;
    }
    if (this.route.view === 'logs' && this.views.logs.escape()) return;
    if (this.route.params.get('q')) {
      $('search').value = '';
      this.search('');
    }
  },
};

app.start();
