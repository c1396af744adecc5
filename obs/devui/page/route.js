// The address says all of what is seen, so that it can be kept and handed on:
// #/requests?service=shop, #/trace/<id>?span=<id>, #/logs?level=warn.

export function parse(hash) {
  const [path, query = ''] = hash.replace(/^#\/?/, '').split('?');
  const [view = '', id = ''] = path.split('/');
  const params = new URLSearchParams(query);
  if (view === 'trace' && /^[0-9a-f]{32}$/.test(id)) return { view, id, params };
  if (view === 'logs') return { view, id: '', params };
  return { view: 'requests', id: '', params };
}

export function format({ view, id, params }) {
  for (const [key, value] of [...params]) if (value === '') params.delete(key);
  const query = params.toString();
  return `#/${view}${id ? `/${id}` : ''}${query ? `?${query}` : ''}`;
}

// go changes the address; replace leaves no entry in the history.
export function go(route, replace = false) {
  const hash = format(route);
  if (hash === location.hash) return;
  if (!replace) {
    location.hash = hash;
    return;
  }
  history.replaceState(null, '', hash);
  dispatchEvent(new HashChangeEvent('hashchange'));
}

export function link(view, id, params) {
  return format({ view, id, params: new URLSearchParams(params) });
}
