// What all views share: elements, formats, colours.

// h makes an element. Text is only ever set as text, so that a name full of
// markup is shown as it is.
export function h(tag, props, ...children) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'class') el.className = value;
    else if (name.startsWith('on')) el.addEventListener(name.slice(2), value);
    else if (name in el && typeof value !== 'string') el[name] = value;
    else el.setAttribute(name, value === true ? '' : value);
  }
  el.append(...children.flat().filter((c) => c !== undefined && c !== null && c !== false));
  return el;
}

export function place(el, left, width) {
  el.style.left = `${left}%`;
  if (width !== undefined) el.style.width = `${width}%`;
  return el;
}

// duration formats nanoseconds with three digits.
export function duration(ns) {
  if (!Number.isFinite(ns)) return '';
  if (ns >= 60e9) return `${Math.floor(ns / 60e9)}m ${Math.round((ns % 60e9) / 1e9)}s`;
  for (const [unit, size] of [['s', 1e9], ['ms', 1e6], ['µs', 1e3]]) {
    if (ns >= size) {
      const v = ns / size;
      return `${v >= 100 ? Math.round(v) : v >= 10 ? v.toFixed(1) : v.toFixed(2)} ${unit}`;
    }
  }
  return `${Math.round(ns)} ns`;
}

const two = (n) => String(n).padStart(2, '0');

// clock formats microseconds since 1970 as local time of day.
export function clock(us) {
  const d = new Date(us / 1000);
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}.${String(d.getMilliseconds()).padStart(3, '0')}`;
}

export function dateTime(us) {
  const d = new Date(us / 1000);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(us)}`;
}

export function plural(n, one, many = `${one}s`) {
  return `${n.toLocaleString('en')} ${n === 1 ? one : many}`;
}

// Severities begin at these of slog's levels.
const severities = [[20, 'EMERGENCY'], [16, 'ALERT'], [12, 'CRITICAL'], [8, 'ERROR'], [4, 'WARN'], [2, 'NOTICE'], [0, 'INFO'], [-Infinity, 'DEBUG']];

export function severity(level) {
  return severities.find(([from]) => level >= from)[1];
}

export function severityClass(level) {
  return level >= 8 ? 'error' : level >= 4 ? 'warn' : level >= 0 ? 'info' : 'debug';
}

// Services get colours in the order in which they are met.
const colours = new Map();

export function colourOf(service) {
  if (!colours.has(service)) colours.set(service, colours.size % 8);
  return `s${colours.get(service)}`;
}

export function statusClass(status) {
  return status >= 500 ? 'bad' : status >= 400 ? 'odd' : 'fine';
}

// copyButton copies a text and says so.
export function copyButton(text, label) {
  const button = h('button', { type: 'button', class: 'copy', 'aria-label': `Copy ${label}`, title: `Copy ${label}` }, 'copy');
  button.addEventListener('click', async () => {
    let done = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      done = copyBySelection(text);
    }
    button.textContent = done ? 'copied' : 'no clipboard';
    setTimeout(() => { button.textContent = 'copy'; }, 1200);
  });
  return button;
}

function copyBySelection(text) {
  const area = h('textarea', { class: 'sr', 'aria-hidden': 'true' });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  return done;
}

// debounced runs f once calls have ceased for ms.
export function debounced(f, ms) {
  let timer;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => f(...args), ms);
  };
}

// framed runs f at most once a frame.
export function framed(f) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      f();
    });
  };
}
