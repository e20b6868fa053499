// The differential: a row a class, with a small chart of the share, its 95 % limits and the reference range.

import { el, percent, t, word } from "../core.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 200;
const HEIGHT = 22;
const TICKS = [0, 25, 50, 75, 100];

function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function chart(share, low, high, reference, name) {
  const x = (value) => (WIDTH * value) / 100;
  const drawing = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true", preserveAspectRatio: "none" });
  for (const tick of TICKS) drawing.append(shape("line", { x1: x(tick), x2: x(tick), y1: 0, y2: HEIGHT, class: "tick" }));
  if (reference) {
    const [from, to] = reference;
    drawing.append(shape("rect", { x: x(from), width: Math.max(2, x(to - from)), y: 0, height: HEIGHT, class: "reference" }));
  }
  if (share !== null) {
    drawing.append(
      shape("rect", { x: 0, width: x(share), y: 6, height: HEIGHT - 12, rx: 2, class: `share ${name}` }),
      shape("line", { x1: x(low), x2: x(high), y1: HEIGHT / 2, y2: HEIGHT / 2, class: "limits" }),
      shape("line", { x1: x(low), x2: x(low), y1: 6, y2: HEIGHT - 6, class: "limits" }),
      shape("line", { x1: x(high), x2: x(high), y1: 6, y2: HEIGHT - 6, class: "limits" }),
    );
  }
  return drawing;
}

const KNOWN = new Set(["neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil"]);

export function swatch(name) {
  return el("span", { class: `swatch ${KNOWN.has(name) ? name : "other"}`, "aria-hidden": "true" });
}

/** A marker where the whole interval lies outside of the reference range. */
function outside(share, low, high, reference) {
  if (!reference || share === null) return null;
  if (low > reference[1]) return el("span", { class: "tag watch" }, `▲ ${t("live.above")}`);
  if (high < reference[0]) return el("span", { class: "tag watch" }, `▼ ${t("live.below")}`);
  return null;
}

/** Write the rows: [class, count, percent, low, high, reference]. */
export function showRows(body, rows, accepted) {
  const lines = rows.map(([name, count, share, low, high, reference]) => el(
    "tr", {},
    el("th", { scope: "row" }, swatch(name), word(name), outside(share, low, high, reference)),
    el("td", { class: "number strong" }, String(count)),
    el("td", { class: "number strong" }, share === null ? "–" : share.toFixed(1)),
    el("td", { class: "chart", "aria-hidden": "true" }, chart(share, low, high, reference, KNOWN.has(name) ? name : "other")),
    el("td", { class: "number" }, share === null ? "–" : t("live.limits_text", { low: low.toFixed(1), high: high.toFixed(1) })),
    el("td", { class: "number" }, reference ? t("live.limits_text", { low: reference[0], high: reference[1] }) : "–"),
  ));
  const total = el(
    "tr", { class: "total" },
    el("th", { scope: "row" }, t("live.total")),
    el("td", { class: "number strong" }, String(accepted)),
    el("td", { class: "number" }, accepted ? percent(100, 0).replace(" %", "") : "–"),
    el("td", { class: "chart", "aria-hidden": "true" }), el("td", {}), el("td", {}),
  );
  body.replaceChildren(...lines, total);
}
