// A list of thousands of which only what is in view is in the page. A listbox: one stop for the Tab key, arrows within.

import { el } from "../core.js";

const SPARE = 4; // rows above and below the view

export class List {
  /**
   * @param box the element that scrolls; a role=listbox
   * @param draw makes the content of one item's row
   * @param chosen called with an item and its place when it becomes the current one
   * @param opened called likewise when it is asked for with Enter or a click
   */
  constructor(box, { draw, name, chosen, opened }) {
    this.box = box;
    this.draw = draw;
    this.name = name;
    this.chosen = chosen;
    this.opened = opened;
    this.items = [];
    this.at = -1;
    this.rows = new Map();
    this.space = el("div", { class: "space", role: "presentation" });
    box.append(this.space);
    box.addEventListener("scroll", () => this.paint(), { passive: true });
    box.addEventListener("keydown", (event) => this.key(event));
    box.addEventListener("click", (event) => {
      const row = event.target.closest("[data-at]");
      if (row) this.go(Number(row.dataset.at), true);
    });
    new ResizeObserver(() => this.paint()).observe(box);
  }

  get current() {
    return this.items[this.at] ?? null;
  }

  /** Show other items; the current one stays where it is still among them. */
  show(items) {
    const current = this.current;
    this.items = items;
    this.at = current ? items.indexOf(current) : -1;
    this.paint();
  }

  /** Draw anew what is in view, because something about the items has changed. */
  refresh() {
    for (const row of this.rows.values()) row.remove();
    this.rows.clear();
    this.paint();
  }

  /** Go to a place; `open` as if it was clicked. */
  go(at, open = false) {
    if (!this.items.length) return;
    this.at = Math.max(0, Math.min(this.items.length - 1, at));
    const top = this.at * this.height;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + this.height > this.box.scrollTop + this.box.clientHeight) {
      this.box.scrollTop = top + this.height - this.box.clientHeight;
    }
    this.paint();
    this.chosen(this.current, this.at);
    if (open) this.opened(this.current, this.at);
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.box.clientHeight / this.height) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in steps) {
      event.preventDefault();
      this.go(Math.max(0, Math.min(this.items.length - 1, this.at + steps[event.key])));
    } else if (event.key === "Enter" && this.current) {
      event.preventDefault();
      this.opened(this.current, this.at);
    }
  }

  paint() {
    this.height = parseFloat(getComputedStyle(this.box).getPropertyValue("--item")) * parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.space.style.height = `${this.items.length * this.height}px`;
    // A list of three cells is three cells high.
    this.box.style.setProperty("--whole", `${Math.max(1, this.items.length) * this.height}px`);
    const first = Math.max(0, Math.floor(this.box.scrollTop / this.height) - SPARE);
    const last = Math.min(this.items.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / this.height) + SPARE);
    for (const [at, row] of this.rows) {
      if (at >= first && at < last && row.item === this.items[at]) continue;
      row.remove();
      this.rows.delete(at);
    }
    for (let at = first; at < last; at += 1) {
      if (!this.rows.has(at)) this.rows.set(at, this.make(at));
      const row = this.rows.get(at);
      row.style.transform = `translateY(${at * this.height}px)`;
      row.setAttribute("aria-selected", String(at === this.at));
      row.setAttribute("aria-setsize", String(this.items.length));
    }
    if (this.rows.has(this.at)) this.box.setAttribute("aria-activedescendant", `cell-${this.at}`);
    else this.box.removeAttribute("aria-activedescendant");
  }

  make(at) {
    const item = this.items[at];
    const row = el(
      "div",
      { role: "option", id: `cell-${at}`, class: "item", "data-at": at, "aria-posinset": at + 1, "aria-label": this.name(item) },
      ...this.draw(item),
    );
    row.item = item;
    this.space.append(row);
    return row;
  }
}
