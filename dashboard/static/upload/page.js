// The page: from files dropped to cells looked at.

import { Failure, address, banner, el, getJson, inOrder, postJson, say, t, word } from "../core.js";
import { Job, OVER } from "./job.js";
import { Models } from "./models.js";
import { chosen, dropped, send } from "./send.js";

const find = (selector) => document.querySelector(selector);
const facts = JSON.parse(find("#upload").dataset.facts);
const FILTERS = ["text", "class", "verdict", "reason", "wrong", "order"];

const models = new Models(find("#model"), find("#model-about"));
let job = null;

// -- beginning ------------------------------------------------------------------------------------------

/** Begin an upload, and let `bring` put something into it. */
async function begin(bring) {
  banner("upload", "");
  const scale = find("#scale").value;
  try {
    const said = await postJson(address("/upload/jobs"), {
      model: models.select.value,
      view: find("#view").value,
      um_per_pixel: scale ? Number(scale) : null,
    });
    history.pushState({}, "", address("/upload/of", said.key));
    open(said);
    await bring(job);
    await postJson(job.at("end"));
  } catch (failure) {
    if (failure.status === -1) return;
    banner("upload", failure.message);
    if (job && !OVER.includes(job.progress.state)) await postJson(job.at("end")).catch(() => {});
  }
}

function bringFiles(files) {
  return async (into) => {
    into.expected = files.length;
    await send(into.at("files"), files, {
      most: facts.fileBytes,
      signal: into.sending.signal,
      heard: (count, bytes) => into.sent(count, bytes),
      failed: (name, why) => into.refuse(name, why),
    });
  };
}

function takeFiles(files) {
  if (files.length) begin(bringFiles(files));
  else banner("upload", t("upload.nothing_chosen"));
}

function wireBeginning() {
  for (const name of ["files", "folder"]) {
    const input = find(`#choose-${name}`);
    find(`#button-${name}`).addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      const files = chosen(input.files);
      input.value = "";
      takeFiles(files);
    });
  }
  find("#address-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = find("#address").value.trim();
    if (wanted) begin((into) => postJson(into.at("address"), { address: wanted }));
  });
  for (const button of document.querySelectorAll("[data-samples]")) {
    button.addEventListener("click", () => begin((into) => postJson(into.at("samples"), { set: button.dataset.samples })));
  }
  const zone = find("#upload");
  const over = (on) => zone.classList.toggle("over", on);
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    over(true);
  });
  zone.addEventListener("dragleave", (event) => {
    if (!zone.contains(event.relatedTarget)) over(false);
  });
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    over(false);
    takeFiles(await dropped(event.dataTransfer));
  });
}

// -- an upload ------------------------------------------------------------------------------------------

function open(said) {
  job?.close();
  find("#failed-list").replaceChildren();
  find("#evaluation").hidden = true;
  for (const name of FILTERS) {
    const input = find(`#filter-${name}`);
    if (name === "wrong") input.checked = false;
    else input.value = name === "order" ? "order" : "";
  }
  find("#labels-status").textContent = "";
  find("#labels-status").className = "";
  find("#threshold").value = said.model.threshold;
  showThreshold();
  find("#filter-class").replaceChildren(el("option", { value: "" }, t("upload.any_class")), ...inOrder(said.model.classes).map((name) => el("option", { value: name }, word(name))));
  find("#results-model").textContent = t("upload.read_with", { model: said.model.name });
  find("#results-uncalibrated").hidden = said.model.calibrated;
  job = new Job(said);
  find("#begin").hidden = true;
  find("#results").hidden = false;
  job.draw();
  job.listen();
}

function start() {
  job?.close();
  job = null;
  find("#begin").hidden = false;
  find("#results").hidden = true;
}

const threshold = find("#threshold");

function showThreshold() {
  find("#threshold-value").textContent = Number(threshold.value).toFixed(2);
}

function wireResults() {
  threshold.addEventListener("input", () => {
    showThreshold();
    job?.decide(Number(threshold.value));
  });
  for (const name of FILTERS) {
    const input = find(`#filter-${name}`);
    input.addEventListener("input", () => {
      if (name === "order") job.cells.order = input.value;
      else job.cells.filter[name] = name === "wrong" ? input.checked : input.value;
      job.filter();
      job.list.box.scrollTop = 0;
      say(find("#shown").textContent);
    });
  }
  find("#stop").addEventListener("click", async () => {
    const stop = find("#stop");
    stop.disabled = true;
    job.sending.abort();
    await postJson(job.at("stop")).catch((failure) => banner("upload", failure.message));
    stop.disabled = false;
  });
  find("#again").addEventListener("click", () => {
    history.pushState({}, "", address("/upload"));
    start();
    find("#button-files").focus();
  });
  const labels = find("#choose-labels");
  find("#button-labels").addEventListener("click", () => labels.click());
  labels.addEventListener("change", async () => {
    const status = find("#labels-status");
    const file = labels.files[0];
    labels.value = "";
    if (!file) return;
    status.className = "quiet";
    status.textContent = t("upload.labels_reading", { name: file.name });
    const asked = job;
    let said;
    try {
      const response = await fetch(`${asked.at("labels")}?${new URLSearchParams({ name: file.name })}`, { method: "POST", body: file });
      said = await response.json();
      if (!response.ok) throw new Error(said.error);
    } catch (failure) {
      status.className = "problem";
      status.textContent = failure instanceof TypeError ? t("upload.connection_lost") : failure.message;
      return;
    }
    if (asked !== job) return;
    status.textContent = t("upload.labels_taken", { name: file.name });
    job.cells.label(said.labels);
    job.filter();
    job.list.refresh();
    job.askFigures();
  });
}

async function arrive() {
  const key = location.pathname.startsWith(address("/upload/of/")) ? decodeURIComponent(location.pathname.split("/").pop()) : "";
  if (!key) return start();
  try {
    open(await getJson(address("/upload/jobs", key)));
  } catch (failure) {
    start();
    banner("upload", failure instanceof Failure ? failure.message : String(failure));
  }
}

wireBeginning();
wireResults();
if (find("#model-form")) models.form(find("#model-form"));
addEventListener("popstate", arrive);
await models.load();
await arrive();
