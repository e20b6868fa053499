// Cells as several pages show them, what is said below a differential, and questions.

import { LABORATORY, address, el, percent, t } from "./core.js";

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

/** A colour of its own for each of the five classes, a plain one for the rest. */
export function colourOf(name) {
  return LABORATORY.includes(name) ? `var(--${name})` : "var(--quiet)";
}

/** A small picture of a cell, with a line or two beneath it. */
export function thumbnail(cell, alternative, ...lines) {
  const picture = cell.pictured
    ? el("img", { src: pictureOf(cell), alt: alternative, loading: "lazy", decoding: "async" })
    : el("span", { class: "absent", role: "img", "aria-label": alternative }, "–");
  return el("figure", { class: "thumbnail" }, picture, el("figcaption", {}, ...lines.map((line) => el("span", {}, line))));
}

/** What of a sample's cells the table does not show: wanted, undecided, and what is no white cell. */
export function remark({ differential, target }) {
  const { accepted, undecided, not_white_cells: none, cannot_tell: unknown } = differential;
  const parts = [target ? t("review.counted", { count: accepted, target }) : t("review.counted_plain", { count: accepted })];
  parts.push(t("review.undecided_count", { count: undecided }));
  if (none) parts.push(t("review.not_white_count", { count: none }));
  if (unknown) parts.push(t("review.cannot_tell_count", { count: unknown }));
  return el("p", { class: "quiet small" }, `${parts.join(" · ")}.`);
}

/** A question in the page's dialog; resolves to whether it was answered with `yes`, the word on that button. */
export function ask(title, text, yes, no = t("common.cancel")) {
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
