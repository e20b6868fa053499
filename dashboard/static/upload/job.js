// One upload as the page shows it: how far it is, its cells, its figures, one cell closely.

import { address, banner, counted, el, getJson, inOrder, percent, say, swatch, t, word } from "../core.js";
import { Cells } from "./cells.js";
import { Detail } from "./detail.js";
import { evaluation, tallies } from "./figures.js";
import { List } from "./list.js";
import { megabytes } from "./send.js";

const find = (selector) => document.querySelector(selector);
const DRAW_MS = 500; // each time costs the machine that reads something, where it is this one
const FIGURES_MS = 1500;

/** The states in which nothing more comes. */
export const OVER = ["done", "stopped", "failed"];

export class Job {
  /** @param said what the server says of it: its key, its model, how far it is */
  constructor(said) {
    const { key } = said;
    this.key = key;
    this.model = said.model;
    this.progress = said;
    this.cells = new Cells(inOrder(said.model.classes));
    this.cells.threshold = Number(find("#threshold").value);
    this.sending = new AbortController();
    this.sentText = "";
    this.expected = 0;
    this.figures = null;
    this.figuresAsked = 0;
    this.closed = false;
    this.list = new List(find("#cells").cloneNode(false), {
      draw: (row) => this.drawRow(row),
      name: (row) => this.rowName(row),
      chosen: (row, at) => this.detail.open && this.detail.show(row, at, this.list.items.length),
      opened: (row, at) => this.detail.show(row, at, this.list.items.length),
    });
    find("#cells").replaceWith(this.list.box);
    this.detail = new Detail(find("#detail"), { key, cells: this.cells, step: (by) => this.list.go(this.list.at + by) });
  }

  at(...parts) {
    return address("/upload/jobs", this.key, ...parts);
  }

  listen() {
    this.source = new EventSource(this.at("events"));
    this.source.addEventListener("step", (event) => {
      const { progress, pictures } = JSON.parse(event.data);
      for (const picture of pictures) this.cells.add(picture);
      this.progress = progress;
      this.drawBar();
      banner("upload-stream", "");
      this.drawSoon();
    });
    this.source.addEventListener("over", () => {
      this.source.close();
      this.finish();
    });
    this.source.onerror = () => {
      if (this.source.readyState === EventSource.CLOSED) banner("upload-stream", t("upload.stream_lost"));
    };
  }

  sent(count, bytes) {
    const values = { count: count.toLocaleString("en"), total: this.expected.toLocaleString("en"), bytes: megabytes(bytes) };
    this.sentText = count < this.expected ? t("upload.sent", values) : "";
    this.drawSoon();
  }

  /** A file that never left this computer. */
  refuse(name, error) {
    this.cells.failed.push({ name, error });
    this.drawSoon();
  }

  drawSoon() {
    if (this.closed) return; // a file's last word may come when another upload has taken its place
    this.drawing ??= setTimeout(() => {
      this.drawing = null;
      this.draw();
    }, DRAW_MS);
  }

  finish() {
    this.draw();
    this.askFigures();
    say(this.status());
  }

  status() {
    const { state, read, received, cells, seconds, problem } = this.progress;
    const good = read - this.cells.broken;
    const total = Math.max(this.expected, received);
    const values = { read: good.toLocaleString("en"), total: total.toLocaleString("en") };
    const whole = state === "done" && good === total;
    const pictures = whole ? counted("upload.pictures", good) : t("upload.pictures_of", values);
    return t(`upload.state_${state}`, { ...values, pictures, cells: counted("upload.cell_count", cells), seconds: seconds.toFixed(1), problem });
  }

  drawBar() {
    const { state, read, received } = this.progress;
    const bar = find("#progress");
    bar.max = Math.max(1, this.expected, received);
    bar.value = read;
    bar.hidden = OVER.includes(state);
  }

  draw() {
    const { state, skipped } = this.progress;
    const over = OVER.includes(state);
    this.drawBar();
    find("#status").textContent = [this.status(), this.sentText, skipped ? counted("upload.skipped", skipped) : ""].filter(Boolean).join(" ");
    find("#status").classList.toggle("problem", state === "failed");
    find("#stop").hidden = over;
    find("#again").hidden = !over;
    this.drawFailed();
    this.filter();
    this.drawFigures();
    if (performance.now() - this.figuresAsked > FIGURES_MS) this.askFigures();
  }

  filter() {
    const shown = this.cells.shown();
    this.list.show(shown);
    const values = { shown: shown.length.toLocaleString("en"), count: this.cells.all.length.toLocaleString("en") };
    find("#shown").textContent = t(shown.length === this.cells.all.length ? "upload.all_shown" : "upload.some_shown", values);
    find("#wrong-label").hidden = !this.cells.labelled;
  }

  drawFigures() {
    find("#tally").replaceChildren(...tallies(this.cells, this.figures));
    for (const link of document.querySelectorAll("[data-download]")) {
      link.href = `${this.at(`download.${link.dataset.download}`)}?threshold=${this.cells.threshold}`;
    }
  }

  drawEvaluation() {
    const parts = evaluation(this.figures);
    find("#evaluation").replaceChildren(...parts);
    find("#evaluation").hidden = !parts.length;
  }

  async askFigures() {
    this.figuresAsked = performance.now();
    if (!this.cells.all.length) return;
    const { threshold } = this.cells;
    const figures = await getJson(`${this.at("figures")}?threshold=${threshold}`, { byItself: true }).catch(() => null);
    if (!figures || figures.threshold !== this.cells.threshold || this.closed) return;
    this.figures = figures;
    this.drawFigures();
    this.drawEvaluation();
  }

  /** Decide everything anew at another threshold; the model is not asked. */
  decide(threshold) {
    this.cells.threshold = threshold;
    this.filter();
    this.list.refresh();
    this.drawFigures();
    this.detail.refresh();
    clearTimeout(this.asking);
    this.asking = setTimeout(() => this.askFigures(), 150);
  }

  drawRow(row) {
    const why = this.cells.reasons(row);
    const tags = why.length ? why.map((reason) => el("span", { class: "tag watch" }, word(reason))) : [el("span", { class: "tag good" }, t("common.accepted"))];
    if (row.label) {
      const wrong = this.cells.wrong(row);
      tags.unshift(el("span", { class: wrong ? "tag bad" : "tag" }, t(wrong ? "upload.label_wrong" : "upload.label_is", { label: word(row.label) })));
    }
    const meter = el("span", { class: "meter" }, el("span", {}));
    meter.firstChild.style.width = `${100 * row.confidence}%`;
    return [
      el("img", { src: `${this.at("cells")}/${row.picture}/${row.cell}.jpg`, alt: "", width: 128, height: 128, decoding: "async" }),
      el("span", { class: "what" }, el("strong", {}, swatch(row.class), word(row.class)), el("span", { class: "sure" }, meter, percent(100 * row.confidence))),
      el("span", { class: "tags" }, ...tags),
      el("span", { class: "file quiet", title: row.name }, row.name.split("/").pop()),
    ];
  }

  rowName(row) {
    const why = this.cells.reasons(row);
    const verdict = why.length ? `${t("common.flagged")}: ${why.map(word).join(", ")}` : t("common.accepted");
    return `${word(row.class)}, ${percent(100 * row.confidence)}, ${verdict}, ${row.name}`;
  }

  drawFailed() {
    const { failed } = this.cells;
    find("#failed").hidden = !failed.length;
    find("#failed-title").textContent = t("upload.failed_title", { count: failed.length.toLocaleString("en") });
    const list = find("#failed-list");
    for (const { name, error } of failed.slice(list.childElementCount, 500)) {
      list.append(el("li", {}, el("strong", {}, name), el("span", {}, error.startsWith(name) ? error.slice(name.length) : ` ${error}`)));
    }
  }

  /** Another upload takes its place on the page. */
  close() {
    this.closed = true;
    clearTimeout(this.drawing);
    clearTimeout(this.asking);
    this.sending.abort();
    this.source?.close();
    this.detail.leave();
  }
}
