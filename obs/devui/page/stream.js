// The one connection that stays open: everything the list or the tail shows
// comes through it, and an idle page asks for nothing else.

export class Stream {
  constructor(onUpdate, onState) {
    this.onUpdate = onUpdate;
    this.onState = onState;
  }

  // open asks for what params say, unless that is what comes already.
  open(params) {
    const query = new URLSearchParams(params).toString();
    if (this.source && this.query === query) return;
    this.close();
    this.query = query;
    const source = new EventSource(`api/stream?${query}`);
    this.source = source;
    source.addEventListener('all', (e) => this.take(source, e, true));
    source.addEventListener('change', (e) => this.take(source, e, false));
    source.onerror = () => {
      if (this.source !== source) return;
      // A browser tries again by itself unless it was refused: a filter that
      // is half typed.
      this.onState(source.readyState === EventSource.CLOSED ? 'refused' : 'lost');
    };
  }

  take(source, event, all) {
    if (this.source !== source) return;
    this.onState('open');
    this.onUpdate(JSON.parse(event.data), all);
  }

  close() {
    this.source?.close();
    this.source = null;
  }
}

export async function fetchJSON(path) {
  const resp = await fetch(path, { headers: { Accept: 'application/json' } });
  if (!resp.ok) throw new Error((await resp.text()).trim() || resp.statusText);
  return resp.json();
}
