// The review of a sample: one cell after another, decided with keys or buttons.

import { address, banner, el, getJson, hold, mayReview, newest, say, t, word } from "../core.js";
import { ask, dataOf } from "../cells.js";
import { onChanges, onLinked, onReload, start } from "../stream.js";
import { CellList } from "./list.js";
import { keyboard, showKeys } from "./keys.js";
import * as overlay from "./overlay.js";
import { Queue } from "./queue.js";
import { announce, showLike, showPicture, showReadings, showSays, standingText } from "./show.js";
import { summaryPanel } from "./summary.js";

const OPERATOR = "leukoscope-operator";
const SOON_MS = 150;
const KEYED = 5; // classes with a key of their own
const REST = ["other_white_cell", "not_a_white_cell", "cannot_tell"];

const root = document.getElementById("review");
const { device, sample } = root.dataset;
const typed = document.getElementById("operator");
const opacity = document.getElementById("opacity");
if (typed) {
  typed.value = localStorage.getItem(OPERATOR) ?? "";
  typed.addEventListener("change", () => localStorage.setItem(OPERATOR, typed.value.trim()));
}

const queue = new Queue(root.dataset.operator);
const refusals = new Map();
const mine = []; // cells that were decided here, the last one last
let list = new CellList(device, sample, "undecided");
let summary = null;
let saliencies = new Map();
let moving = false;
let shown = null; // the id of the cell whose pictures are shown

const operator = () => root.dataset.operator || typed?.value.trim() || "";
const strength = () => opacity.value / 100;
const panel = summaryPanel({ device, sample, operator, failed, changed: () => refreshSoon() });

/** What a cell can be called: [name, key]; a sixth class of a model has no key. */
function choices() {
  const classes = new Set([...summary.classes, ...Object.keys(list.current?.probabilities ?? {})]);
  const keyed = [...classes].map((name, place) => [name, place < KEYED ? String(place + 1) : ""]);
  return [...keyed, ...REST.map((name, place) => [name, String(KEYED + 1 + place)])];
}

// ---- showing

function showChoices() {
  const cell = list.current;
  const waiting = cell && queue.waiting(device, cell.id);
  const chosen = waiting ? waiting.class : cell?.reviewed;
  const buttons = choices().map(([name, key]) => {
    const button = el(
      "button",
      { type: "button", disabled: !mayReview, "aria-pressed": String(chosen === name), "data-class": name },
      key ? el("kbd", {}, key) : null,
      el("span", { class: "swatch", "data-class": name }),
      word(name),
    );
    button.addEventListener("click", () => once(() => decide(name)));
    return button;
  });
  const box = document.getElementById("choices");
  const focused = box.contains(document.activeElement) ? document.activeElement.dataset.class : null;
  hold(box, ...buttons);
  if (focused) box.querySelector(`[data-class="${CSS.escape(focused)}"]`)?.focus();
}

function showState() {
  const cell = list.current;
  if (!cell) return;
  const [tone, text] = standingText(cell, queue.waiting(device, cell.id), refusals.get(cell.id));
  const line = document.getElementById("standing");
  line.className = `standing ${tone}`;
  line.textContent = text;
  showReadings(document.getElementById("readings"), cell);
  showChoices();
}

function showPosition() {
  const decided = list.cells.filter((cell) => cell.standing !== "waiting").length;
  const totals = { undecided: decided + summary.differential.undecided, flagged: summary.flagged, all: summary.cells };
  const position = list.base + list.index + 1;
  const text = list.current ? t("review.position", { position, total: Math.max(totals[list.only], position) }) : "";
  document.getElementById("position").textContent = text;
  document.getElementById("left").textContent = t("review.left", { count: summary.differential.undecided });
  const chosen = document.getElementById("sample").selectedOptions[0];
  chosen.textContent = t("review.sample_choice", { sample, device, count: summary.differential.undecided });
  showEnds();
  return text;
}

/** What is left to do with the sample when no cell waits. */
function nextStep() {
  if (!summary.flagged && list.only !== "all") return "flagged";
  if (summary.signed_by) return "signed";
  if (!summary.named) return "text";
  return summary.state === "open" ? "open" : "finished";
}

/** At either end there is nowhere to go. The buttons stay where the focus is, so they are not disabled. */
function showEnds() {
  const first = list.index === 0 && list.base === 0;
  const last = list.index + 1 >= list.cells.length && list.ended;
  document.getElementById("previous").setAttribute("aria-disabled", String(first));
  document.getElementById("next").setAttribute("aria-disabled", String(last));
}

async function showCell() {
  const cell = list.current;
  document.getElementById("empty").hidden = list.only === "undecided" ? summary.differential.undecided > 0 : Boolean(cell);
  document.getElementById("empty-text").textContent = t(`review.nothing_${nextStep()}`);
  for (const id of ["cell", "says", "like-card"]) document.getElementById(id).hidden = !cell;
  const position = showPosition();
  if (!cell) return;
  showState();
  if (shown === cell.id) return;
  shown = cell.id;
  showSays(document.getElementById("says"), cell);
  announce(cell, position);
  history.replaceState(null, "", `?${new URLSearchParams({ device, sample, cell: cell.id, only: list.only })}`);
  await showPicture(cell, saliencies.get(cell.id), strength());
  try {
    await showMore(cell);
  } catch (error) {
    shown = null; // asked for again with the next change
    failed(error);
  }
}

/** What takes longer: what the model looked at, and like cells. */
async function showMore(cell) {
  const [full, like] = await Promise.all([
    getJson(address("/data/cell", device, cell.id), { byItself: true }),
    getJson(address("/data/cell", device, cell.id, "like"), { byItself: true }),
  ]);
  if (shown !== cell.id) return;
  saliencies.set(cell.id, full.saliency);
  list.update(full);
  await showPicture(cell, full.saliency, strength());
  showLike(document.getElementById("like"), document.getElementById("like-text"), like.cells);
  showState();
}

// ---- acting

/** What is pressed while the next cell is still being fetched is not meant for the one before: it is passed over. */
async function once(work) {
  if (moving) return;
  moving = true;
  try {
    await work();
  } catch (error) {
    failed(error);
  } finally {
    moving = false;
  }
}

async function decide(name) {
  const cell = list.current;
  if (!mayReview || !cell) return;
  refusals.delete(cell.id);
  mine.push(cell.id);
  queue.add({ device, sample, cell: cell.id, class: name, operator: operator() });
  const open = (each) => each.standing === "waiting" && !queue.waiting(device, each.id) && each.id !== cell.id;
  if (list.only === "all") await list.next();
  else if (list.only === "undecided" || cell.standing === "waiting") await list.seek(open);
  else await list.next();
  showCell();
}

async function undo() {
  const last = mine.pop() ?? list.current?.id;
  if (!mayReview || !last) return;
  const place = list.find(last);
  if (place >= 0) list.index = place;
  refusals.delete(last);
  queue.add({ device, sample, cell: last, undo: true, operator: operator() });
  showCell();
}

// ---- what comes from elsewhere

async function refreshCells(names) {
  await Promise.all(
    names.map(async (name) => {
      const cell = await getJson(address("/data/cell", device, name), { byItself: true });
      saliencies.set(name, cell.saliency);
      list.update(cell);
    }),
  );
  showState();
}

const latest = newest();
let due = null;
const touched = new Set();

function refreshSoon(cell = "") {
  if (cell) touched.add(cell);
  due ??= setTimeout(refresh, SOON_MS);
}

async function refresh() {
  due = null;
  const names = [...touched].filter((name) => list.find(name) >= 0);
  touched.clear();
  try {
    summary = (await latest(getJson(dataOf(device, sample), { byItself: true }))) ?? summary;
    if (names.length) await refreshCells(names);
    if (list.ended) await list.more();
  } catch (error) {
    failed(error);
    return;
  }
  panel.show(summary);
  await showCell();
}

/** Of a dashboard that is away the stream's own banner tells. */
function failed(error) {
  if (error.status === 401) signedOut();
  else if (error.status) banner("data", error.message);
}

async function signedOut() {
  if (document.getElementById("ask").open) return;
  const stay = `${location.pathname}${location.search}`.slice(address("").length);
  const title = t("review.signed_out");
  if (await ask(title, t("review.signed_out_text", { count: queue.items.length }), t("review.sign_in"), t("common.close"))) {
    location.href = `${address("/sign-in")}?next=${encodeURIComponent(stay)}`;
  }
}

async function askOfAnother() {
  const { foreign } = queue;
  const values = { operator: foreign[0].user || t("review.nobody"), count: foreign.length };
  if (await ask(t("review.of_another", values), t("review.of_another_text", values), t("review.give_up"), t("common.close"))) {
    queue.giveUp();
    queue.kick();
  }
}

queue.addEventListener("changed", showState);
queue.addEventListener("signedout", signedOut);
queue.addEventListener("done", ({ detail }) => {
  if (detail.item.undo) say(t("review.taken_back"));
  refreshSoon(detail.item.cell);
});
queue.addEventListener("refused", ({ detail: { item, message } }) => {
  const text = item.undo ? t("review.refused_undo", { problem: message }) : t("review.refused", { reading: word(item.class), problem: message });
  refusals.set(item.cell, text);
  say(text);
});

onChanges((changes) => {
  for (const change of changes) {
    if (change.device === device && (change.sample === sample || change.kind === "device")) refreshSoon(change.kind === "review" ? change.cell : "");
  }
});
onLinked(() => queue.kick());
onReload(() => {
  list.cells.forEach((cell) => touched.add(cell.id));
  queue.kick();
  refreshSoon();
});

// ---- beginning

const step = (way) => () =>
  once(async () => {
    if (await list[way]()) showCell();
    else {
      say(t(`review.no_${way}`));
      showEnds();
    }
  });
const fade = (change) => () => {
  opacity.value = Number(opacity.value) + change;
  overlay.redraw(strength());
};

opacity.addEventListener("input", () => overlay.redraw(strength()));
document.getElementById("previous").addEventListener("click", step("previous"));
document.getElementById("next").addEventListener("click", step("next"));
document.getElementById("undo").addEventListener("click", () => once(undo));
document.getElementById("help").addEventListener("click", showKeys);
document.getElementById("sample").addEventListener("change", (event) => {
  const { dataset } = event.target.selectedOptions[0];
  location.search = new URLSearchParams({ device: dataset.device, sample: dataset.sample });
});
document.getElementById("filter").addEventListener("change", (event) => {
  open(event.target.value).catch(failed);
});
// After a press of the mouse the arrow keys are for the cells again, and not for the filter.
document.getElementById("filter").addEventListener("click", (event) => event.detail && document.activeElement.blur());
keyboard({
  choose: (pressed) => {
    const [name] = choices().find(([, key]) => key === pressed) ?? [];
    if (name) once(() => decide(name));
  },
  next: step("next"),
  previous: step("previous"),
  undo: () => once(undo),
  weaker: fade(-10),
  stronger: fade(10),
  choices,
});

async function open(only, cell = "") {
  list = new CellList(device, sample, only);
  shown = null;
  let rank = 0;
  if (cell && only === "all") rank = (await getJson(address("/data/cell", device, cell))).rank;
  await list.open(rank);
  if (cell && only !== "all" && list.find(cell) >= 0) list.index = list.find(cell);
  await showCell();
}

summary = await getJson(dataOf(device, sample));
panel.show(summary);
const wanted = new URLSearchParams(location.search);
const only = ["undecided", "flagged", "all"].includes(wanted.get("only")) ? wanted.get("only") : wanted.get("cell") ? "all" : "undecided";
document.querySelector(`#filter [value="${only}"]`).checked = true;
await open(only, wanted.get("cell") ?? "");
start();
if (queue.foreign.length) askOfAnother();
else queue.run();
root.dataset.ready = "";
