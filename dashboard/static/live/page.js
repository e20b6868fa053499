// The live page: what the server knew when it was opened, then whatever changes.

import { address, counted, el, getJson, newest, postJson, say, swatch, t, time, word } from "../core.js";
import { newRequest, pictureOf, share } from "../cells.js";
import { chartLegend, differentialTable } from "../differential.js";
import { Grid } from "../grid.js";
import { onChanges, onReload, start } from "../stream.js";
import { Cells, MOST, named } from "./cells.js";
import { showAway, showDevices, showFigures, showProblems, showSkipped } from "./device.js";
import { showCell } from "./dialog.js";
import { Field } from "./field.js";

const REFRESH_MS = 300;
const SAY_EVERY = 25; // cells

const byId = (id) => document.getElementById(id);
const chosen = new URLSearchParams(location.search).get("device") ?? "";

let view = JSON.parse(byId("data").textContent);
let shown = []; // the cells in the list, oldest first: all of them, or those that the filter lets through
let held = 0; // newer ones that came while somebody read further down
let spoken = -1;

const field = new Field();
const cells = new Cells(cellsChanged);
const grid = new Grid(byId("grid"), {
  size: () => {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    return [8.6 * rem, 5.3 * rem];
  },
  fill,
  open: (index) => showCell(cells.device, cells.sample, named(at(index))),
  scrolled: () => grid.atTop && held && release(),
});

// ---- the sample -------------------------------------------------------------------------------------------------

function showSample(device) {
  const { sample } = device;
  byId("sample-title").textContent = sample ? (sample.named ? sample.id : t("live.sample")) : t("live.sample");
  const state = byId("sample-state");
  state.hidden = !sample;
  if (!sample) byId("sample-about").textContent = t("live.no_sample");
  byId("progress").hidden = !sample;
  for (const id of ["progress-text", "waiting", "left-out", "fetching"]) if (!sample) byId(id).textContent = "";
  showDifferential(sample);
  showForms(device);
  if (!sample) return;
  state.textContent = t(sample.finished_at ? "live.closed" : sample.named ? "live.open" : "live.day_tag");
  state.className = `tag ${sample.open ? "good" : ""}`;
  const about = [];
  if (!sample.named) about.push(t("live.day"));
  else if (sample.operator) about.push(t("live.started_by", { time: time(sample.started_at), operator: sample.operator }));
  else about.push(t("live.started", { time: time(sample.started_at) }));
  if (sample.finished_at) about.push(t("live.finished", { time: time(sample.finished_at) }));
  if (sample.signed_by) about.push(t("live.signed", { operator: sample.signed_by }));
  byId("sample-about").textContent = about.join(" · ");
  const { accepted, target, flagged } = sample;
  byId("progress").max = target ?? Math.max(1, accepted);
  byId("progress").value = Math.min(accepted, target ?? accepted);
  const reached = target !== null && accepted >= target;
  byId("progress-text").textContent = target ? t("live.progress", { accepted, target }) : t("live.progress_plain", { accepted });
  byId("progress-text").classList.toggle("reached", reached);
  byId("reached").hidden = !reached || !sample.open;
  byId("waiting").textContent = flagged === 0 ? t("live.flagged_none") : counted("live.flagged", flagged);
  byId("left-out").textContent = sample.not_white_cells + sample.cannot_tell
    ? t("live.left_out", { not_white: sample.not_white_cells, cannot_tell: sample.cannot_tell }) : "";
  byId("fetching").textContent = sample.missing && device.state === "online" ? t("live.fetching", { count: sample.missing }) : "";
  const review = byId("review");
  if (review) {
    review.hidden = flagged === 0;
    review.href = `${address("/review")}?device=${encodeURIComponent(device.name)}&sample=${encodeURIComponent(sample.id)}`;
  }
  speak(sample);
}

function showDifferential(sample) {
  const rows = (sample?.rows ?? []).map(([name, count, share, low, high, reference]) => ({
    class: name, count, percent: share, limits: [low, high], reference,
  }));
  byId("no-differential").hidden = rows.length > 0;
  byId("reference-note").hidden = !rows.length;
  const parts = rows.length ? [differentialTable(rows, { total: sample.accepted }), chartLegend()] : [];
  byId("differential").replaceChildren(...parts);
}

/** Tell a screen reader how far it is, now and then. */
function speak(sample) {
  const step = Math.floor(sample.accepted / SAY_EVERY);
  if (spoken >= 0 && step > spoken && sample.target) {
    say(t("live.say_progress", { accepted: sample.accepted, target: sample.target, flagged: sample.flagged }));
  }
  spoken = step;
}

function showForms(device) {
  const form = byId("start");
  if (!form) return;
  const open = Boolean(device.sample?.open);
  const online = device.state === "online";
  form.hidden = open || !online;
  byId("finish").hidden = !open || !online;
}

// ---- everything but the cells ----------------------------------------------------------------------------------

function show(next) {
  const before = view.device;
  view = next;
  const { device } = view;
  showDevices(view.devices, device?.name);
  byId("no-devices").hidden = Boolean(device);
  byId("devices").parentElement.hidden = !device;
  byId("device").hidden = !device;
  if (!device) return;
  if (before && before.name === device.name && before.state !== device.state) {
    say(t("live.say_state", { device: device.name, state: t(`live.state_${device.state}`) }));
  }
  showProblems(device.problems);
  showAway(device);
  showSample(device);
  showFigures(device);
  showSkipped(device.metrics);
  field.of(device.name, device.state === "online");
  const sample = device.sample?.id ?? "";
  if (cells.device !== device.name || cells.sample !== sample) {
    spoken = -1;
    cells.open(device.name, sample);
  }
}

const latest = newest();
let due = null;

function refresh() {
  due ??= setTimeout(async () => {
    due = null;
    try {
      const next = await latest(getJson(`${address("/data/live")}?device=${encodeURIComponent(view.device?.name ?? chosen)}`, { byItself: true }));
      if (next) show(next);
    } catch (error) {
      // 401: the sign-in has ended, and the page that asks for it says so.
      if (error.status === 401) location.reload();
    }
  }, REFRESH_MS);
}

// ---- the list of cells ------------------------------------------------------------------------------------------

const filter = byId("filter");

function passes(row) {
  const [, , cellClass, , verdict, , reviewed] = row;
  if (filter.value === "all") return true;
  if (filter.value === "flagged") return verdict === "flagged";
  return (reviewed ?? cellClass) === filter.value;
}

/** The newest is the first of the list. */
function at(index) {
  return shown[shown.length - held - 1 - index];
}

function cellsChanged({ changed, all }) {
  const before = shown.length;
  shown = filter.value === "all" ? cells.rows : cells.rows.filter(passes);
  const more = filter.value === "all" ? cells.rows.length - lastLength : shown.length - before;
  lastLength = cells.rows.length;
  showFilter();
  if (all) held = 0;
  else if (!grid.atTop && more > 0) held += more; // the list must not move under a reader
  if (all || more || filter.value !== "all") grid.set(shown.length - held);
  for (const id of changed) {
    const index = shown.findIndex((row) => row[1] === id);
    if (index >= 0) grid.refresh(shown.length - held - 1 - index);
  }
  showCount();
}

let lastLength = 0;

function release() {
  held = 0;
  grid.set(shown.length);
  showCount();
}

function showCount() {
  byId("cells-count").textContent = shown.length ? `(${shown.length})` : "";
  byId("no-cells").hidden = shown.length > 0;
  byId("grid").hidden = shown.length === 0;
  const newer = byId("newer");
  newer.hidden = held === 0;
  newer.textContent = t("live.newer", { count: held });
  byId("left-older").hidden = !cells.leftOut;
  byId("left-older").textContent = cells.leftOut ? t("live.older_left_out", { count: MOST }) : "";
}

byId("newer").addEventListener("click", () => {
  release();
  grid.toTop();
  grid.focus(0);
});

function showFilter() {
  const names = view.device?.sample?.rows.map(([name]) => name) ?? [];
  const group = byId("filter-classes");
  if (names.join() === [...group.children].map((option) => option.value).join()) return;
  group.replaceChildren(...names.map((name) => el("option", { value: name }, word(name))));
}

filter.addEventListener("change", () => {
  shown = filter.value === "all" ? cells.rows : cells.rows.filter(passes);
  release();
  grid.toTop();
});

function label(cell) {
  const parts = { name: word(cell.reviewed ?? cell.cellClass), confidence: share(cell.confidence) };
  const verdict = cell.reviewed ? t("live.decided", { reading: word(cell.reviewed) }) : t(`common.${cell.verdict}`);
  if (!cell.reasons.length || cell.reviewed) return t("live.cell_label", { ...parts, verdict });
  return t("live.cell_label_reasons", { ...parts, verdict, reasons: cell.reasons.map(word).join(", ") });
}

/** Write a cell into a button of the list, whose parts are made once and used again. */
function fill(button, index) {
  const cell = named(at(index));
  if (!button.parts) {
    const picture = el("img", { alt: "", width: 96, height: 96, decoding: "async" });
    const name = el("span", { class: "name" });
    const line = el("span", { class: "confidence" });
    const why = el("span", { class: "why" });
    button.append(picture, name, line, why);
    button.parts = { picture, name, line, why };
  }
  const { picture, name, line, why } = button.parts;
  const key = `${cells.device}/${cell.id}/${cell.pictured}`;
  if (button.dataset.cell !== key) {
    button.dataset.cell = key;
    if (cell.pictured) picture.src = pictureOf({ device: cells.device, id: cell.id });
    else picture.removeAttribute("src");
  }
  const standing = cell.reviewed ?? cell.cellClass;
  button.className = `cell ${cell.reviewed ? "reviewed" : cell.verdict}`;
  name.replaceChildren(swatch(standing), word(standing));
  line.textContent = share(cell.confidence);
  why.textContent = cell.reviewed ? `✓ ${t("live.reviewed")}` : cell.reasons.map(word).join(", ");
  button.setAttribute("aria-label", label(cell));
}

// ---- what people do ---------------------------------------------------------------------------------------------

/** Have the device do something; says why not beside the form where it does not. */
async function command(form, problem, path, said) {
  const button = form.querySelector("button.primary");
  const idle = button.textContent;
  button.disabled = true;
  button.textContent = button.dataset.busy;
  problem.hidden = true;
  let message = "";
  try {
    const operator = form.elements.operator?.value ?? "";
    const answer = await postJson(path, { ...said, operator, request: newRequest() });
    if (!answer.ok) message = answer.message;
  } catch (error) {
    message = error.message;
  }
  button.disabled = false;
  button.textContent = idle;
  problem.textContent = message;
  problem.hidden = !message;
  refresh();
  return !message;
}

byId("start")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const sample = form.elements.sample.value;
  const said = { sample, target: Number(form.elements.target.value) };
  if (await command(form, byId("start-problem"), address("/act", view.device.name, "start"), said)) {
    form.elements.sample.value = "";
    say(t("live.began", { sample }));
  }
});

const dialog = byId("finish-dialog");

byId("finish")?.addEventListener("click", () => {
  const { id, accepted, flagged } = view.device.sample;
  byId("finish-title").textContent = t("live.finish_title", { sample: id });
  byId("finish-text").textContent = t("live.finish_text", { accepted, flagged });
  byId("finish-problem").hidden = true;
  dialog.dataset.sample = id;
  dialog.showModal();
});
byId("finish-cancel")?.addEventListener("click", () => dialog.close());
byId("finish-form")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { sample } = dialog.dataset;
  const path = address("/act", view.device.name, "sample", sample, "finish");
  if (await command(event.target, byId("finish-problem"), path, {})) {
    dialog.close();
    say(t("live.ended", { sample }));
  }
});

// ---- changes ----------------------------------------------------------------------------------------------------

onChanges((changes) => {
  refresh();
  const here = changes.filter((change) => change.device === cells.device && change.sample === cells.sample && change.cell);
  if (here.length) cells.note(here.map((change) => change.cell));
});
onReload(() => {
  refresh();
  cells.catchUp();
});

show(view);
start();
