// The cells that were read, which of them are shown, and in which order.

import { isFlagged, reasonsAt } from "./verdict.js";

const ORDERS = {
  order: (a, b) => a.picture - b.picture || a.cell - b.cell,
  least: (a, b) => a.confidence - b.confidence,
  most: (a, b) => b.confidence - a.confidence,
  class: (a, b) => a.class.localeCompare(b.class) || b.confidence - a.confidence,
  name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }) || a.cell - b.cell,
  slowest: (a, b) => b.ms - a.ms,
};

export class Cells {
  constructor(classes) {
    this.classes = classes;
    this.all = [];
    this.pictures = new Map();
    this.failed = [];
    this.broken = 0; // pictures that the server has met and could not read
    this.threshold = 0.85;
    this.filter = { text: "", class: "", verdict: "", reason: "", wrong: false };
    this.order = "order";
  }

  /** Take what the server says of a picture; what was taken before is not taken twice. */
  add(picture) {
    if (this.pictures.has(picture.number)) return;
    this.pictures.set(picture.number, picture);
    if (picture.error) {
      this.failed.push(picture);
      this.broken += 1;
    }
    for (const row of picture.rows) {
      row.name = picture.name;
      row.text = picture.name.toLowerCase();
      row.size = picture.size;
      row.label = row.central ? picture.label : null;
      this.all.push(row);
    }
  }

  /** Set all labels anew: {number of the picture: class or null}. */
  label(labels) {
    for (const [number, picture] of this.pictures) picture.label = labels[number] ?? null;
    for (const row of this.all) row.label = row.central ? this.pictures.get(row.picture).label : null;
  }

  get labelled() {
    return this.all.some((row) => row.label);
  }

  flagged(row) {
    return isFlagged(row, this.threshold);
  }

  reasons(row) {
    return reasonsAt(row, this.threshold);
  }

  /** Read as another class than the label says; a label of no class of the model is wrong where it was accepted. */
  wrong(row) {
    if (!row.label) return false;
    return this.classes.includes(row.label) ? row.label !== row.class : !this.flagged(row);
  }

  /** Those that pass the filter, in order. */
  shown() {
    const { text, class: wanted, verdict, reason, wrong } = this.filter;
    const sought = text.trim().toLowerCase();
    const found = this.all.filter(
      (row) =>
        (!sought || row.text.includes(sought)) &&
        (!wanted || row.class === wanted) &&
        (!verdict || this.flagged(row) === (verdict === "flagged")) &&
        (!reason || this.reasons(row).includes(reason)) &&
        (!wrong || this.wrong(row)),
    );
    return found.sort((a, b) => ORDERS[this.order](a, b) || ORDERS.order(a, b));
  }

  /** How many there are at the threshold. */
  tally() {
    const classes = Object.fromEntries(this.classes.map((name) => [name, 0]));
    const reasons = {};
    let accepted = 0;
    for (const row of this.all) {
      const why = this.reasons(row);
      if (!why.length) {
        classes[row.class] += 1;
        accepted += 1;
      }
      for (const reason of why) reasons[reason] = (reasons[reason] ?? 0) + 1;
    }
    return { classes, reasons, accepted, flagged: this.all.length - accepted };
  }
}
