// One cell, larger: its picture and all that the device said of it.

import { pictureOf, share } from "../cells.js";
import { address, el, getJson, swatch, t, time, word } from "../core.js";

const dialog = document.getElementById("cell-dialog");
const body = document.getElementById("cell-body");

document.getElementById("cell-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

export async function showCell(device, sample, cell) {
  const verdict = cell.reviewed
    ? el("span", { class: "tag good" }, t("live.decided", { reading: word(cell.reviewed) }))
    : el("span", { class: `tag ${cell.verdict === "flagged" ? "watch" : "good"}` }, t(`common.${cell.verdict}`));
  document.getElementById("cell-title").replaceChildren(swatch(cell.cellClass), word(cell.cellClass), " ", verdict);
  const picture = cell.pictured
    ? el("img", { src: pictureOf({ device, id: cell.id }), alt: "", width: 224, height: 224 })
    : el("div", { class: "no-picture" }, t("live.no_picture"));
  body.replaceChildren(picture);
  dialog.showModal();
  const said = await getJson(address("/data/cell", device, cell.id));
  const rows = Object.entries(said.probabilities).sort((a, b) => b[1] - a[1]).map(([name, value]) => [word(name), share(value)]);
  const facts = [
    [t("live.reasons"), said.reasons.map(word).join(", ")],
    [t("live.captured"), time(said.captured_at)],
    [t("live.views"), said.views ? String(said.views) : ""],
    [t("live.threshold"), said.threshold ? said.threshold.toFixed(2) : ""],
  ].filter(([, value]) => value);
  const list = (pairs) => el("dl", { class: "figures" }, ...pairs.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  body.append(el("div", {}, el("h3", {}, t("live.probabilities")), list(rows), list(facts),
    el("p", {}, el("a", { class: "button", href: `${address("/review")}?${new URLSearchParams({ device, sample, cell: cell.id })}` }, t("live.to_review"))),
    el("p", { class: "quiet small" }, t("live.details", { id: said.id }))));
}
