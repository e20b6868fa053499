// A list of thousands of items of one size, of which only those in view (and a little more) are in the page.
//
// Each item is a button within a list item. One of them can be reached with Tab, the arrow keys go on from there,
// and the item that has the focus stays in the page wherever the list is scrolled to.

const SPARE_ROWS = 2;

export class Grid {
  /**
   * @param {HTMLElement} box scrolls; has role="list"
   * @param {object} how
   *   size: () => [width, height] in pixels: the least width of an item with its gap, and what it is higher than wide
   *   fill: (button, index) => void: write the item of this index into its button
   *   open: (index) => void: an item was pressed
   *   scrolled: () => void
   */
  constructor(box, { size, fill, open, scrolled }) {
    this.box = box;
    this.size = size;
    this.fill = fill;
    this.scrolled = scrolled;
    this.length = 0;
    this.active = 0;
    this.shown = new Map(); // index → list item
    this.spare = [];
    this.space = document.createElement("div");
    this.space.className = "grid-space";
    this.space.setAttribute("role", "presentation");
    box.append(this.space);
    this.waits = false;
    box.addEventListener("scroll", () => {
      this.draw();
      this.scrolled?.();
    }, { passive: true });
    new ResizeObserver(() => this.measure()).observe(box);
    box.addEventListener("keydown", (event) => this.#key(event));
    box.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) open(Number(button.dataset.index));
    });
    box.addEventListener("focusin", (event) => {
      const button = event.target.closest("button");
      if (button) this.#activate(Number(button.dataset.index));
    });
  }

  get atTop() {
    return this.box.scrollTop < 4;
  }

  /** There are so many items now, and any of them may be another. */
  set(length) {
    this.length = length;
    this.active = Math.min(this.active, Math.max(0, length - 1));
    for (const [index, item] of this.shown) if (index >= length) this.#drop(index, item);
    this.measure();
    for (const [index, item] of this.shown) this.#write(item, index);
  }

  /** The item of this index is another; nothing happens where it is not in view. */
  refresh(index) {
    const item = this.shown.get(index);
    if (item) this.#write(item, index);
  }

  toTop() {
    this.box.scrollTop = 0;
    this.draw();
  }

  measure() {
    const [width, more] = this.size();
    this.columns = Math.max(1, Math.floor(this.box.clientWidth / width));
    this.width = this.box.clientWidth / this.columns;
    this.height = this.width + more; // pictures are square, and shown whole
    this.space.style.height = `${Math.ceil(this.length / this.columns) * this.height}px`;
    this.draw(true);
  }

  /** Bring the page in line with where the list is scrolled to. */
  draw(moved = false) {
    const firstRow = Math.max(0, Math.floor(this.box.scrollTop / this.height) - SPARE_ROWS);
    const lastRow = Math.ceil((this.box.scrollTop + this.box.clientHeight) / this.height) + SPARE_ROWS;
    const first = firstRow * this.columns;
    const last = Math.min(this.length, lastRow * this.columns);
    const held = this.box.contains(document.activeElement) ? this.active : -1;
    for (const [index, item] of this.shown) {
      if ((index < first || index >= last) && index !== held) this.#drop(index, item);
      else if (moved) this.#place(item, index);
    }
    for (let index = first; index < last; index++) if (!this.shown.has(index)) this.#show(index);
  }

  #show(index) {
    const item = this.spare.pop() ?? this.#make();
    this.shown.set(index, item);
    this.#write(item, index);
    this.#place(item, index);
    item.hidden = false;
  }

  #drop(index, item) {
    this.shown.delete(index);
    item.hidden = true;
    this.spare.push(item);
  }

  #make() {
    const item = document.createElement("div");
    item.setAttribute("role", "listitem");
    item.className = "grid-item";
    const button = document.createElement("button");
    button.type = "button";
    item.append(button);
    this.space.append(item);
    return item;
  }

  #write(item, index) {
    const button = item.firstChild;
    button.dataset.index = index;
    button.tabIndex = index === this.active ? 0 : -1;
    item.setAttribute("aria-posinset", index + 1);
    item.setAttribute("aria-setsize", this.length);
    this.fill(button, index);
  }

  #place(item, index) {
    item.style.width = `${this.width}px`;
    item.style.height = `${this.height}px`;
    item.style.transform = `translate(${(index % this.columns) * this.width}px, ${Math.floor(index / this.columns) * this.height}px)`;
  }

  #activate(index) {
    if (index === this.active) return;
    const before = this.shown.get(this.active);
    this.active = index;
    if (before) before.firstChild.tabIndex = -1;
    const now = this.shown.get(index);
    if (now) now.firstChild.tabIndex = 0;
  }

  /** Put the focus on an item, and bring it into view. */
  focus(index) {
    const top = Math.floor(index / this.columns) * this.height;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + this.height > this.box.scrollTop + this.box.clientHeight) {
      this.box.scrollTop = top + this.height - this.box.clientHeight;
    }
    this.#activate(index);
    this.draw();
    this.shown.get(index)?.firstChild.focus({ preventScroll: true });
  }

  #key(event) {
    const page = Math.max(1, Math.floor(this.box.clientHeight / this.height)) * this.columns;
    const steps = {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns, PageDown: page, PageUp: -page,
      Home: -this.active, End: this.length - 1 - this.active,
    };
    const step = steps[event.key];
    if (step === undefined || event.ctrlKey || event.altKey || event.metaKey || !this.length) return;
    event.preventDefault();
    this.focus(Math.min(this.length - 1, Math.max(0, this.active + step)));
  }
}
