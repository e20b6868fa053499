// One cell closely: its picture under what the model looked at, its probabilities, and the picture that it is in.

import { address, el, getJson, moment, percent, t, word } from "../core.js";
import { colourOf } from "../cells.js";

export class Detail {
  constructor(panel, { key, cells, step }) {
    this.panel = panel;
    this.base = ["/upload/jobs", key];
    this.cells = cells;
    this.row = null;
    this.map = null;
    this.image = panel.querySelector("#cell-image");
    this.heat = panel.querySelector("#cell-heat");
    this.opacity = panel.querySelector("#opacity");
    // The panel outlives the upload: the next one must not find this one's listeners on it.
    this.listening = new AbortController();
    const on = (element, kind, listener) => element.addEventListener(kind, listener, { signal: this.listening.signal });
    on(this.opacity, "input", () => {
      this.heat.style.opacity = this.opacity.value / 100;
    });
    on(panel.querySelector("#previous"), "click", () => step(-1));
    on(panel.querySelector("#next"), "click", () => step(1));
    on(panel.querySelector("#close-detail"), "click", () => this.close());
    on(panel, "keydown", (event) => {
      if (event.target === this.opacity) return;
      if (event.key === "ArrowLeft") step(-1);
      else if (event.key === "ArrowRight") step(1);
      else return;
      event.preventDefault();
    });
  }

  get open() {
    return this.panel.open;
  }

  close() {
    this.panel.close();
  }

  /** Hand the panel to another upload. */
  leave() {
    this.listening.abort();
    this.close();
  }

  async show(row, at, count) {
    this.row = row;
    this.place = t("upload.place", { at: (at + 1).toLocaleString("en"), count: count.toLocaleString("en") });
    this.refresh();
    const where = `${address(...this.base, "cells")}/${row.picture}/${row.cell}`;
    this.image.src = `${where}.jpg`;
    this.image.alt = t("upload.cell_alt", { class: word(row.class) });
    this.heat.getContext("2d").clearRect(0, 0, this.heat.width, this.heat.height);
    this.field(row);
    if (!this.panel.open) this.panel.showModal();
    const status = this.panel.querySelector("#heat-status");
    status.textContent = t("upload.heat_loading");
    try {
      const map = await getJson(`${where}/saliency`);
      if (this.row !== row) return;
      paint(this.heat, map);
      status.textContent = "";
    } catch (failure) {
      if (this.row === row) status.textContent = failure.message;
    }
  }

  /** Write what depends on the threshold. */
  refresh() {
    const { row, cells, panel } = this;
    if (!row) return;
    const why = cells.reasons(row);
    panel.querySelector("#detail-title").textContent = word(row.class);
    panel.querySelector("#detail-place").textContent = this.place;
    const verdict = why.length ? el("span", { class: "tag watch" }, t("common.flagged")) : el("span", { class: "tag good" }, t("common.accepted"));
    panel.querySelector("#detail-verdict").replaceChildren(verdict, ` ${percent(100 * row.confidence)}`);
    panel.querySelector("#detail-reasons").replaceChildren(...why.map((reason) => el("li", {}, t(`upload.why_${reason}`))));
    const shares = Object.entries(row.probabilities).sort((a, b) => b[1] - a[1]);
    panel.querySelector("#detail-shares").replaceChildren(
      ...shares.flatMap(([name, share]) => {
        const meter = el("span", { class: "meter" }, el("span", {}));
        meter.firstChild.style.width = `${100 * share}%`;
        meter.firstChild.style.background = colourOf(name);
        return [el("dt", {}, word(name)), el("dd", {}, meter, el("span", { class: "number" }, percent(100 * share)))];
      }),
    );
    const picture = cells.pictures.get(row.picture);
    const facts = [
      [t("upload.file"), row.name],
      [t("upload.read_at"), moment(row.at)],
      [t("upload.model_time"), `${row.ms.toFixed(1)} ms`],
      [t("upload.picture_time"), `${picture.ms.toFixed(0)} ms`],
    ];
    if (row.label) facts.push([t("upload.label"), cells.wrong(row) ? t("upload.label_wrong", { label: word(row.label) }) : word(row.label)]);
    panel.querySelector("#detail-facts").replaceChildren(...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  }

  field(row) {
    const figure = this.panel.querySelector("#field");
    const image = figure.querySelector("img");
    const box = figure.querySelector(".box");
    image.src = `${address(...this.base, "pictures")}/${row.picture}.jpg`;
    image.alt = t("upload.picture_alt", { name: row.name });
    box.hidden = !row.box;
    if (!row.box) return;
    const [left, top, width, height] = row.box;
    const [across, down] = row.size;
    box.style.left = `${(100 * left) / across}%`;
    box.style.top = `${(100 * top) / down}%`;
    box.style.width = `${(100 * width) / across}%`;
    box.style.height = `${(100 * height) / down}%`;
  }
}

/** A map of rows × columns, 0 to 255: clear where nothing speaks for the class, over yellow to red where most does. */
function paint(canvas, { rows, columns, values }) {
  const small = new OffscreenCanvas(columns, rows);
  const pixels = new ImageData(columns, rows);
  values.forEach((value, at) => pixels.data.set([255, 255 - value, 0, value], 4 * at));
  small.getContext("2d").putImageData(pixels, 0, 0);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}
