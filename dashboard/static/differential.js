// The differential as every page draws it: a row a class with its cells, its share of all, the 95 % limits of that share
// and the reference range, and a chart of the four. In a narrow place each class folds into a block of its own.

import { swatch, el, t, word } from "./core.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 200;
const HEIGHT = 22;
const TICKS = [0, 25, 50, 75, 100]; // per cent

export function range([low, high], digits = 1) {
  return `${low.toFixed(digits)}–${high.toFixed(digits)}`;
}

function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** The share as a bar, its limits as a line with ends, the reference range as a dashed field; 0 to 100 % across. */
function chart({ class: name, percent, limits, reference }) {
  const x = (value) => (WIDTH * value) / 100;
  const drawing = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true", preserveAspectRatio: "none" });
  for (const tick of TICKS) drawing.append(shape("line", { x1: x(tick), x2: x(tick), y1: 0, y2: HEIGHT, class: "tick" }));
  if (reference) {
    const [from, to] = reference;
    drawing.append(shape("rect", { x: x(from), width: Math.max(2, x(to - from)), y: 0, height: HEIGHT, class: "reference" }));
  }
  if (percent !== null) {
    drawing.append(shape("rect", { x: 0, width: x(percent), y: 6, height: HEIGHT - 12, class: "share", "data-class": name }));
  }
  if (percent !== null && limits) {
    const [low, high] = limits;
    const line = (x1, x2, y1, y2, kind) => shape("line", { x1: x(x1), x2: x(x2), y1, y2, class: kind });
    const middle = HEIGHT / 2;
    drawing.append(
      line(low, high, middle, middle, "halo"), // the bar is as light as the line in the dark
      line(low, high, middle, middle, "limits"),
      ...[low, high].map((end) => line(end, end, 3, HEIGHT - 3, "limits")),
    );
  }
  return drawing;
}

/** A mark where the whole interval lies outside of the reference range. */
function outside({ percent, limits, reference }) {
  if (!reference || !limits || percent === null) return null;
  const mark = (sign, name) => el("span", { class: "tag watch" }, el("span", { "aria-hidden": "true" }, sign), t(`common.${name}`));
  if (limits[0] > reference[1]) return mark("▲", "above_reference");
  if (limits[1] < reference[0]) return mark("▼", "below_reference");
  return null;
}

/** A cell that says what it is where the heads of the columns cannot be seen. */
function cell(name, text) {
  return el("td", { role: "cell", class: `number ${name}`, "data-label": t(`common.${name.split(" ")[0]}`) }, text);
}

function scale() {
  const marks = ["0", "50", "100 %"].map((text) => el("span", {}, text));
  return el("td", { role: "cell", class: "chart", "aria-hidden": "true" }, el("span", { class: "scale" }, ...marks));
}

/**
 * The table.
 *
 * @param rows [{class, count, percent, limits: [low, high], reference: [from, to]}]; percent is null where no cell is
 *   counted, limits where they are not known yet, reference where there is none
 * @param how
 *   total: the cells that the shares are of, for a last row; null for none
 *   referenced: whether there are reference ranges at all
 */
export function differentialTable(rows, { total = null, referenced = true } = {}) {
  const heads = ["class", "count", "share", "chart", "limits", ...(referenced ? ["reference"] : [])];
  const head = heads.map((name, place) =>
    name === "chart" ? scale() : el("th", { role: "columnheader", scope: "col", class: place ? "number" : null }, t(`common.${name}`)),
  );
  const lines = rows.map((row) => el(
    "tr", { role: "row" },
    el("th", { role: "rowheader", scope: "row" }, swatch(row.class), el("span", { class: "named" }, word(row.class)), outside(row)),
    cell("count", row.count.toLocaleString("en")),
    cell(row.percent === null ? "share none" : "share", row.percent === null ? "–" : row.percent.toFixed(1)),
    el("td", { role: "cell", class: "chart", "aria-hidden": "true" }, chart(row)),
    cell("limits", row.percent === null ? "–" : row.limits ? range(row.limits) : "…"),
    referenced ? cell("reference", row.reference ? `${row.reference[0]}–${row.reference[1]}` : "–") : null,
  ));
  if (total !== null) {
    lines.push(el(
      "tr", { role: "row", class: "total" },
      el("th", { role: "rowheader", scope: "row" }, t("common.total")),
      cell("count", total.toLocaleString("en")),
      cell(total ? "share" : "share none", total ? "100" : "–"),
      el("td", { role: "cell", class: "chart", "aria-hidden": "true" }),
      el("td", { role: "cell", class: "limits" }),
      referenced ? el("td", { role: "cell", class: "reference" }) : null,
    ));
  }
  const part = (name, ...inside) => el(name, { role: "rowgroup" }, ...inside);
  const table = el("table", { role: "table", class: referenced ? "differential" : "differential short" }, part("thead", el("tr", { role: "row" }, ...head)), part("tbody", ...lines));
  return el("div", { class: "folding" }, table);
}

/** What the marks of the chart are. */
export function chartLegend() {
  const entry = (name) => el("li", {}, el("span", { class: `key key-${name}`, "aria-hidden": "true" }), t(`common.chart_${name}`));
  return el("ul", { class: "chart-legend" }, entry("share"), entry("limits"), entry("reference"));
}
