import { h, duration, clock, plural, copyButton, severity, severityClass, colourOf } from './dom.js';
import { link } from './route.js';
import { selfTime } from './model.js';
import { fields } from './logs.js';

// spanPanel shows all there is of a span. detail is what the server keeps back
// until it is asked for.
export function spanPanel(model, node, detail, chosenLog) {
  const s = node.span;
  return [
    h('header', {},
      h('h2', {}, s.name || '(no name)'),
      h('p', { class: 'meta' }, h('i', { class: `dot ${colourOf(s.service)}` }), s.service, ' · ', s.kind || 'internal', ' · ', duration(s.duration), node.children.length ? ` · ${duration(selfTime(node))} of its own` : '', ` · from ${duration(s.at)}`)),
    s.failed && problem(s, detail),
    node.logs.length > 0 && section('Logs', records(node.logs, chosenLog), node.logs.length),
    section('Attributes', table(detail.attributes), Object.keys(detail.attributes ?? {}).length, true),
    detail.left > 0 && h('p', { class: 'note' }, `${plural(detail.left, 'attribute')} left out: the span was too large.`),
    detail.events?.length > 0 && section('Events', detail.events.map((e) => h('div', { class: 'item' }, h('h4', {}, e.name, h('span', { class: 'dim' }, ` at ${duration(e.at)}`)), table({ ...e.attributes, 'exception.stacktrace': s.failed ? undefined : e.attributes?.['exception.stacktrace'] }))), detail.events.length),
    detail.links?.length > 0 && section('Links', detail.links.map((l) => h('div', { class: 'item' }, h('a', { href: link('trace', l.trace, { span: l.span }) }, `${l.trace.slice(0, 8)}… / ${l.span}`), table(l.attributes))), detail.links.length),
    section('Identifiers', ids(model.doc.id, s)),
    detail.datadog && section('Datadog form', datadog(detail.datadog), undefined, false, true),
    section('Process and source', table({ ...detail.process, 'otel.scope': [detail.scope, detail.version].filter(Boolean).join(' '), 'received as': detail.source, tracestate: detail.tracestate }), undefined, false, true),
  ].filter(Boolean).flat();
}

function problem(s, detail) {
  const exception = [...(detail.events ?? [])].reverse().find((e) => e.name === 'exception')?.attributes ?? {};
  const kind = exception['exception.type'] ?? detail.attributes?.['error.type'];
  const message = s.message || exception['exception.message'] || detail.attributes?.['error.message'];
  const stack = exception['exception.stacktrace'] ?? detail.attributes?.['error.stack'];
  return h('div', { class: 'problem' }, h('h3', {}, kind ? String(kind) : 'Error'), message && h('p', {}, String(message)),
    stack && h('pre', { tabindex: '0', 'aria-label': 'Stack' }, String(stack)));
}

function section(title, body, count, open = true, closed = false) {
  return h('details', { open: open && !closed, class: 'section' }, h('summary', {}, h('h3', {}, title), count !== undefined && h('span', { class: 'dim' }, String(count))), ...[body].flat());
}

function table(object) {
  const entries = Object.entries(object ?? {}).filter(([, v]) => v !== undefined && v !== '');
  if (!entries.length) return h('p', { class: 'dim none' }, 'None.');
  return h('dl', {}, ...entries.map(([k, v]) => h('div', {}, h('dt', {}, k), h('dd', {}, typeof v === 'string' ? v : JSON.stringify(v)))));
}

function datadog(d) {
  return [table({ service: d.service, name: d.name, resource: d.resource, type: d.type, error: d.error ? 1 : 0 }),
    h('h4', {}, 'meta'), table(d.meta), h('h4', {}, 'metrics'), table(d.metrics)];
}

// ids are those under which Google and Datadog know the span.
function ids(trace, s) {
  const rows = [
    ['Trace id', trace], ['Span id', s.id],
    ['Datadog trace id', decimal(trace.slice(16))], ['Datadog span id', decimal(s.id)],
    ['Datadog search', `trace_id:${trace}`], ['Cloud Logging filter', `trace:"${trace}"`],
  ];
  return h('dl', { class: 'ids' }, ...rows.map(([k, v]) => h('div', {}, h('dt', {}, k), h('dd', {}, h('code', {}, v), copyButton(v, k)))));
}

function decimal(hex) {
  try {
    return BigInt(`0x${hex}`).toString();
  } catch {
    return '';
  }
}

// records are log records within a trace.
export function records(logs, chosen) {
  return h('ol', { class: 'records' }, ...logs.map((l) => h('li', { class: `${severityClass(l.level)}${l.number === chosen ? ' chosen' : ''}`, 'data-number': l.number },
    h('div', { class: 'line' }, h('span', { class: `level ${severityClass(l.level)}` }, severity(l.level)), h('span', { class: 'dim' }, `+${duration(Math.max(0, l.at))}`),
      h('a', { class: 'quiet', href: link('logs', '', { at: l.number }), title: `${clock(l.time)}${l.source ? `, ${l.source}` : ''}` }, 'in the tail')),
    h('p', { class: 'message' }, l.message), h('p', { class: 'fields' }, ...fields(l.attributes)))));
}
