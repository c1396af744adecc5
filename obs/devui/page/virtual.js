import { framed } from './dom.js';

// A Virtual shows the rows of a long list that can be seen, and a few around
// them. It is a grid for assistive technology: the focus stays on it, and
// aria-activedescendant names the selected row.
export class Virtual {
  // render(i) makes the i-th row's element; key(i) says which it is, so that
  // an element is kept while its row is in sight and unchanged.
  constructor(el, { height, render, key, header = 0, onSelect, onOpen }) {
    this.el = el;
    this.height = height;
    this.render = render;
    this.key = key;
    this.header = header;
    this.onSelect = onSelect;
    this.onOpen = onOpen;
    this.count = 0;
    this.selected = -1;
    this.rows = new Map();
    this.space = document.createElement('div');
    this.space.className = 'space';
    this.space.setAttribute('role', 'rowgroup');
    el.append(this.space);
    this.draw = framed(() => this.drawNow());
    el.addEventListener('scroll', this.draw, { passive: true });
    this.space.addEventListener('click', (e) => this.clicked(e, false));
    this.space.addEventListener('dblclick', (e) => this.clicked(e, true));
    this.observer = new ResizeObserver(this.draw);
    this.observer.observe(el);
  }

  destroy() { this.observer.disconnect(); }

  clicked(e, twice) {
    const row = e.target.closest('[data-index]');
    if (!row || e.target.closest('a, button')) return;
    this.select(Number(row.dataset.index), false);
    if (twice || this.openOnClick) this.onOpen?.(this.selected);
  }

  // set says that there are count rows, of which any may have changed.
  set(count) {
    this.count = count;
    this.space.style.height = `${count * this.height}px`;
    this.el.setAttribute('aria-rowcount', String(count + (this.header ? 1 : 0)));
    if (this.selected >= count) this.selected = count - 1;
    this.drawNow();
  }

  drawNow() {
    const view = this.el.clientHeight;
    const from = Math.max(0, Math.floor(this.el.scrollTop / this.height) - 6);
    const to = Math.min(this.count, Math.ceil((this.el.scrollTop + view) / this.height) + 6);
    const old = this.rows;
    this.rows = new Map();
    for (let i = from; i < to; i++) {
      const key = this.key(i);
      let row = old.get(key);
      if (row) {
        old.delete(key);
      } else {
        row = this.render(i);
        this.space.append(row);
      }
      this.rows.set(key, row);
      this.mark(row, i);
    }
    for (const row of old.values()) row.remove();
    const active = this.selected >= from && this.selected < to ? this.rows.get(this.key(this.selected)) : null;
    if (active) this.el.setAttribute('aria-activedescendant', active.id);
    else this.el.removeAttribute('aria-activedescendant');
  }

  mark(row, i) {
    if (row.dataset.index !== String(i)) {
      row.dataset.index = i;
      row.id = `${this.el.id}-${i}`;
      row.style.top = `${i * this.height}px`;
      row.setAttribute('aria-rowindex', String(i + 1 + (this.header ? 1 : 0)));
    }
    const selected = i === this.selected;
    row.classList.toggle('selected', selected);
    row.setAttribute('aria-selected', String(selected));
  }

  // forget makes all rows be rendered anew.
  forget() {
    for (const row of this.rows.values()) row.remove();
    this.rows.clear();
  }

  select(i, scroll = true) {
    if (this.count === 0) return;
    this.selected = Math.max(0, Math.min(this.count - 1, i));
    if (scroll) this.reveal(this.selected);
    this.drawNow();
    this.onSelect?.(this.selected);
  }

  reveal(i, middle = false) {
    const top = i * this.height;
    const view = this.el.clientHeight;
    if (middle) this.el.scrollTop = top - view / 2;
    else if (top < this.el.scrollTop) this.el.scrollTop = top;
    else if (top + this.height > this.el.scrollTop + view - this.header) this.el.scrollTop = top + this.height - view + this.header;
  }

  // keyed moves the selection, and reports whether the key was one for that.
  keyed(e) {
    const page = Math.max(1, Math.floor(this.el.clientHeight / this.height) - 1);
    const to = {
      j: this.selected + 1, ArrowDown: this.selected + 1, k: this.selected - 1, ArrowUp: this.selected - 1,
      PageDown: this.selected + page, PageUp: this.selected - page, Home: 0, End: this.count - 1,
    }[e.key];
    if (to !== undefined) {
      this.select(to);
      return true;
    }
    if (e.key === 'Enter' && this.selected >= 0) {
      this.onOpen?.(this.selected);
      return true;
    }
    return false;
  }
}
