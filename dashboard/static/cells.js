// Cells and differentials as several pages show them.

import { address, el, percent, t, word } from "./core.js";

/** Where a cell's picture is. */
export function pictureOf(cell) {
  return address("/data/cell", cell.device, cell.id, "picture");
}

export function dataOf(device, sample, ...more) {
  return address("/data/sample", device, sample, ...more);
}

/** A probability in words, never rounded up to certainty. */
export function share(value) {
  if (value >= 0.9995 && value < 1) return "> 99.9 %";
  if (value > 0 && value < 0.0005) return "< 0.1 %";
  return percent(100 * value);
}

/** What a cell counts as, in words. */
export function standing(cell) {
  return word(cell.standing);
}

/** A colour of its own for each of the five classes, a plain one for the rest. */
export function colourOf(name) {
  const own = ["neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil"];
  return own.includes(name) ? `var(--${name})` : "var(--quiet)";
}

/** A small picture of a cell, with a line or two beneath it. */
export function thumbnail(cell, alternative, ...lines) {
  const picture = cell.pictured
    ? el("img", { src: pictureOf(cell), alt: alternative, loading: "lazy", decoding: "async" })
    : el("span", { class: "absent", role: "img", "aria-label": alternative }, "–");
  return el("figure", { class: "thumbnail" }, picture, el("figcaption", {}, ...lines.map((line) => el("span", {}, line))));
}

export function limits(pair) {
  return `${pair[0].toFixed(1)}–${pair[1].toFixed(1)}`;
}

/** Whether limits and reference range have nothing in common. */
function outside(row) {
  return row.reference && row.percent !== null && (row.limits[0] > row.reference[1] || row.limits[1] < row.reference[0]);
}

/** The table of a differential, with a bar for each class: its share, its limits, the reference range. */
export function differentialTable(differential) {
  const largest = Math.max(10, ...differential.shares.map((row) => row.percent === null ? 0 : row.limits[1]));
  const rows = differential.shares.map((row) => {
    const out = outside(row);
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, el("span", { class: "swatch", "data-class": row.class }), word(row.class)),
      el("td", { class: "number" }, row.count.toLocaleString("en")),
      el("td", { class: "number" }, row.percent === null ? "–" : row.percent.toFixed(1)),
      el("td", { class: "number" }, row.percent === null ? "–" : limits(row.limits)),
      el(
        "td",
        { class: out ? "number watch" : "number", title: out ? t("review.outside", { class: word(row.class) }) : null },
        row.reference ? `${row.reference[0]}–${row.reference[1]}` : "–",
        out ? el("span", { class: "unseen" }, t("review.outside", { class: word(row.class) })) : null,
      ),
      el("td", { class: "range", "aria-hidden": "true" }, bar(row, largest)),
    );
  });
  const heads = ["class", "cells", "percent", "limits", "reference"];
  return el(
    "table",
    { class: "differential" },
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        ...heads.map((name, place) => el("th", { scope: "col", class: place ? "number" : null }, t(`review.${name}`))),
        el("td", { class: "range" }),
      ),
    ),
    el("tbody", {}, ...rows),
  );
}

function bar(row, largest) {
  const across = (value) => `${(100 * Math.min(value, largest)) / largest}%`;
  const box = el("div", { class: "bar" });
  if (row.reference) {
    const range = el("span", { class: "normal" });
    range.style.left = across(row.reference[0]);
    range.style.width = across(row.reference[1] - row.reference[0]);
    box.append(range);
  }
  if (row.percent !== null) {
    const reach = el("span", { class: "reach" });
    reach.style.left = across(row.limits[0]);
    reach.style.width = across(row.limits[1] - row.limits[0]);
    const point = el("span", { class: "point" });
    point.style.left = across(row.percent);
    point.style.background = colourOf(row.class);
    box.append(reach, point);
  }
  return box;
}

/** A question in the page's dialog; resolves to whether it was answered with yes. */
export function ask(title, text, yes = t("review.yes"), no = t("review.no")) {
  const dialog = document.getElementById("ask");
  document.getElementById("ask-title").textContent = title;
  document.getElementById("ask-text").textContent = text;
  return new Promise((resolve) => {
    const finish = (answer) => () => {
      resolve(answer);
      dialog.close();
    };
    const buttons = [el("button", { type: "button" }, no), el("button", { type: "button", class: "primary" }, yes)];
    buttons[0].addEventListener("click", finish(false));
    buttons[1].addEventListener("click", finish(true));
    dialog.addEventListener("close", () => resolve(false), { once: true });
    document.getElementById("ask-buttons").replaceChildren(...buttons);
    dialog.showModal();
    buttons[0].focus();
  });
}

/** A name for a request, so that it can be sent again and is done once. */
export function newRequest() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
