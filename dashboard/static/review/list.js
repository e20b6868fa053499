// The cells under review, in the order in which they were decided, fetched as far as they are needed.

import { getJson } from "../core.js";
import { dataOf } from "../cells.js";

const PAGE = 100;
const AHEAD = 20;

export class CellList {
  constructor(device, sample, only) {
    this.device = device;
    this.sample = sample;
    this.only = only;
    this.cells = [];
    this.base = 0;
    this.ended = false;
    this.index = 0;
  }

  get current() {
    return this.cells[this.index] ?? null;
  }

  /** Begin with the cell of this rank among all of the sample's. */
  async open(rank = 0) {
    this.base = Math.max(0, rank - AHEAD);
    await this.more();
    this.index = Math.min(rank - this.base, Math.max(0, this.cells.length - 1));
  }

  /** Fetch what follows; new cells come at the end. */
  async more() {
    const last = this.cells.at(-1);
    const query = new URLSearchParams({ only: this.only, limit: PAGE });
    if (last) query.set("after", last.number);
    else query.set("offset", this.base);
    const { cells } = await getJson(`${dataOf(this.device, this.sample, "cells")}?${query}`, { byItself: Boolean(last) });
    const known = new Set(this.cells.map((cell) => cell.id));
    this.cells.push(...cells.filter((cell) => !known.has(cell.id)));
    this.ended = cells.length < PAGE;
  }

  /** Fetch what comes before. */
  async before() {
    const from = Math.max(0, this.base - PAGE);
    const query = new URLSearchParams({ only: this.only, limit: this.base - from, offset: from });
    const { cells } = await getJson(`${dataOf(this.device, this.sample, "cells")}?${query}`);
    this.cells.unshift(...cells);
    this.index += cells.length;
    this.base = from;
  }

  async next() {
    if (this.index + 1 >= this.cells.length - AHEAD && !this.ended) await this.more();
    if (this.index + 1 >= this.cells.length) return false;
    this.index += 1;
    return true;
  }

  async previous() {
    if (this.index === 0 && this.base > 0) await this.before();
    if (this.index === 0) return false;
    this.index -= 1;
    return true;
  }

  /** Go to the next cell for which `wanted(cell)` holds, from here to the end and round again. */
  async seek(wanted) {
    for (let place = this.index + 1; ; place += 1) {
      if (place >= this.cells.length && !this.ended) await this.more();
      if (place >= this.cells.length) break;
      if (wanted(this.cells[place])) {
        this.index = place;
        return true;
      }
    }
    const found = this.cells.findIndex(wanted);
    if (found < 0) return false;
    this.index = found;
    return true;
  }

  find(cell) {
    return this.cells.findIndex((each) => each.id === cell);
  }

  /** Take in what is known of a cell by now. What was said of it only grows: an answer with less of it is an older one. */
  update(cell) {
    const place = this.find(cell.id);
    if (place >= 0 && cell.readings.length >= this.cells[place].readings.length) this.cells[place] = { ...this.cells[place], ...cell };
  }
}
