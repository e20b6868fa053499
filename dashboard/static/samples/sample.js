// One sample: its differential as it stands, and its cells, of which only those in view are in the page.

import { address, el, getJson, hold, newest, swatch, t, word } from "../core.js";
import { dataOf, pictureOf, remark, share } from "../cells.js";
import { chartLegend, differentialTable } from "../differential.js";
import { Grid } from "../grid.js";
import { onChanges, onReload, start } from "../stream.js";

const PAGE = 100;
const KEPT = 20; // pages of cells that are remembered
const SOON_MS = 400;

const { device, sample } = document.getElementById("sample").dataset;
const box = document.getElementById("grid");
let standing = "";
let pages = new Map(); // number of a page → its cells, or the promise of them
let summary = null;

function rem() {
  return parseFloat(getComputedStyle(document.documentElement).fontSize);
}

const grid = new Grid(box, { size: () => [8.75 * rem(), 2.7 * rem()], fill, open });

function cellAt(index) {
  const number = Math.floor(index / PAGE);
  if (!pages.has(number)) fetchPage(number);
  const page = pages.get(number);
  return Array.isArray(page) ? page[index % PAGE] : undefined;
}

async function fetchPage(number) {
  const mine = pages;
  const query = new URLSearchParams({ offset: number * PAGE, limit: PAGE });
  if (standing) query.set("standing", standing);
  const asked = getJson(`${dataOf(device, sample, "cells")}?${query}`, { byItself: true });
  mine.set(number, asked);
  try {
    const { cells } = await asked;
    mine.set(number, cells);
    if (mine.size > KEPT) mine.delete(mine.keys().next().value);
    if (mine === pages) for (let place = 0; place < PAGE; place += 1) grid.refresh(number * PAGE + place);
  } catch {
    mine.delete(number); // asked for again when it is in view again
  }
}

function fill(button, index) {
  const cell = cellAt(index);
  if (!cell) {
    delete button.dataset.cell;
    button.replaceChildren(el("span", { class: "absent" }));
    button.setAttribute("aria-label", t("review.loading"));
    return;
  }
  if (button.dataset.cell === `${cell.id} ${cell.standing}`) return;
  button.dataset.cell = `${cell.id} ${cell.standing}`;
  const picture = cell.pictured ? el("img", { src: pictureOf(cell), alt: "", decoding: "async" }) : el("span", { class: "absent" }, "–");
  const name = el("span", { class: "line", title: word(cell.standing) }, swatch(cell.standing), el("span", {}, word(cell.standing)));
  button.replaceChildren(picture, name, el("span", { class: "line quiet" }, el("span", {}, cell.standing === cell.class ? share(cell.confidence) : `${word(cell.class)} ${share(cell.confidence)}`)));
  button.setAttribute("aria-label", t("samples.cell_label", { class: word(cell.class), confidence: share(cell.confidence), standing: word(cell.standing) }));
}

function open(index) {
  const cell = cellAt(index);
  if (cell) location.href = `${address("/review")}?${new URLSearchParams({ device, sample, cell: cell.id, only: "all" })}`;
}

function standings() {
  const { shares, undecided, not_white_cells: none, cannot_tell: unknown } = summary.differential;
  const parts = [["", summary.cells], ...shares.map((row) => [row.class, row.count]), ["waiting", undecided], ["not_a_white_cell", none], ["cannot_tell", unknown]];
  return parts.filter(([name, count]) => !name || count || name === standing);
}

function showStandings() {
  const field = document.getElementById("standings");
  const focused = field.contains(document.activeElement);
  const choices = standings().map(([name, count]) => {
    const input = el("input", { type: "radio", name: "standing", value: name, checked: name === standing });
    return el("label", {}, input, el("span", {}, `${name ? word(name) : t("samples.everything")} ${count.toLocaleString("en")}`));
  });
  hold(field, field.querySelector("legend").cloneNode(true), ...choices);
  if (focused) field.querySelector("input:checked")?.focus();
}

function length() {
  return standings().find(([name]) => name === standing)?.[1] ?? 0;
}

const latest = newest();

async function refresh() {
  try {
    summary = (await latest(getJson(dataOf(device, sample), { byItself: true }))) ?? summary;
  } catch {
    return; // the stream's banner tells why
  }
  document.getElementById("differential").replaceChildren(differentialTable(summary.differential.shares), chartLegend(), remark(summary));
  const state = document.getElementById("state");
  state.className = `tag ${summary.signed_by ? "good" : summary.state === "open" ? "" : "watch"}`;
  state.textContent = t(`samples.${summary.signed_by ? "signed" : !summary.named ? "day_tag" : summary.state}`);
  showStandings();
  box.setAttribute("aria-label", t("samples.gallery_cells", { name: standing ? word(standing) : t("samples.everything") }));
  grid.set(length());
}

let due = null;

function refreshSoon() {
  due ??= setTimeout(() => {
    due = null;
    // A review moves cells from one class to another: what was fetched of a class may be others now.
    pages = new Map();
    refresh();
  }, SOON_MS);
}

document.getElementById("standings").addEventListener("change", (event) => {
  standing = event.target.value;
  pages = new Map();
  box.scrollTop = 0;
  refresh();
});
onChanges((changes) => {
  if (changes.some((change) => change.device === device && change.sample === sample)) refreshSoon();
});
onReload(refreshSoon);

await refresh();
start();
box.dataset.ready = "";
