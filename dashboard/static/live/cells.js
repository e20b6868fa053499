// The cells of a sample, as far as they have come: fetched in parts, kept in the order of their numbers, each once.

import { address, getJson } from "../core.js";

export const MOST = 20000; // cells kept in a tab; beyond, the oldest are left out
const FIRST = 120;
const PART = 1000;
const NAMED = 50;

/** [number, id, class, confidence, verdict, reasons, reviewed, pictured, captured_at] → names. */
export function named(row) {
  const [number, id, cellClass, confidence, verdict, reasons, reviewed, pictured, capturedAt] = row;
  return { number, id, cellClass, confidence, verdict, reasons, reviewed, pictured, capturedAt };
}

export class Cells {
  /** @param {(event: {added: number, changed: string[], all: boolean}) => void} changed */
  constructor(changed) {
    this.changed = changed;
    this.device = "";
    this.sample = "";
    this.rows = [];
    this.numbers = new Map(); // id → number
    this.leftOut = false;
    this.turn = 0;
    this.wanted = new Set();
    this.working = false;
  }

  /** Show another sample: the newest cells at once, the others after them. */
  async open(device, sample) {
    const turn = ++this.turn;
    this.device = device;
    this.sample = sample;
    this.rows = [];
    this.numbers.clear();
    this.wanted.clear();
    this.leftOut = false;
    this.changed({ added: 0, changed: [], all: true });
    if (!sample) return;
    const newest = await this.#fetch({ last: FIRST });
    if (turn !== this.turn) return;
    this.#take(newest);
    this.changed({ added: newest.length, changed: [], all: true });
    if (newest.length < FIRST) return;
    const until = newest[0][0];
    const older = [];
    for (let after = 0; ;) {
      const part = await this.#fetch({ after, limit: PART });
      if (turn !== this.turn) return;
      const before = part.filter((row) => row[0] < until);
      older.push(...before);
      if (!before.length || before.length < part.length || part.length < PART) break;
      after = part.at(-1)[0];
    }
    this.#take(older);
    this.changed({ added: older.length, changed: [], all: true });
  }

  /** These cells are new or other than they were. */
  note(ids) {
    for (const id of ids) this.wanted.add(id);
    if (!this.working) this.#work();
  }

  /** Fetch what is new since the newest that is here. */
  async catchUp() {
    const { device, sample } = this;
    await this.open(device, sample);
  }

  async #work() {
    this.working = true;
    try {
      while (this.wanted.size) {
        await new Promise((done) => setTimeout(done, 150));
        const turn = this.turn;
        const after = this.rows.length ? this.rows.at(-1)[0] : 0;
        const fresh = await this.#fetch({ after, limit: PART });
        if (turn !== this.turn) continue;
        for (const row of fresh) this.wanted.delete(row[1]);
        this.#take(fresh);
        if (fresh.length) this.changed({ added: fresh.length, changed: [], all: false });
        if (fresh.length < PART) await this.#fetchWanted(turn);
      }
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      this.wanted.clear(); // the next change, or the stream's return, asks again
    } finally {
      this.working = false;
    }
  }

  /** What was decided anew, and what came late: it has its place among the others. */
  async #fetchWanted(turn) {
    const ids = [...this.wanted].slice(0, NAMED);
    ids.forEach((id) => this.wanted.delete(id));
    if (!ids.length) return;
    const rows = await this.#fetch({ id: ids });
    if (turn !== this.turn) return;
    const late = rows.filter((row) => !this.numbers.has(row[1]));
    for (const row of rows) if (this.numbers.has(row[1])) this.rows[this.#index(row[0])] = row;
    this.#take(late);
    this.changed({ added: late.length, changed: rows.map((row) => row[1]), all: late.length > 0 });
  }

  #take(rows) {
    const fresh = rows.filter((row) => !this.numbers.has(row[1]));
    if (!fresh.length) return;
    const sorted = this.rows.length && fresh[0][0] < this.rows.at(-1)[0];
    for (const row of fresh) {
      this.rows.push(row);
      this.numbers.set(row[1], row[0]);
    }
    if (sorted) this.rows.sort((a, b) => a[0] - b[0]);
    if (this.rows.length > MOST) {
      this.leftOut = true;
      for (const row of this.rows.splice(0, this.rows.length - MOST)) this.numbers.delete(row[1]);
    }
  }

  #index(number) {
    let low = 0;
    let high = this.rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.rows[middle][0] < number) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  async #fetch(query) {
    const asked = new URLSearchParams();
    for (const [key, value] of Object.entries(query)) [value].flat().forEach((each) => asked.append(key, each));
    const path = `${address("/data/devices", this.device, "samples", this.sample, "cells")}?${asked}`;
    return (await getJson(path, { byItself: true })).cells;
  }
}
