// What is known of a cell, in words and bars.

import { LABORATORY, counted, el, hold, moment, say, t, time, word } from "../core.js";
import { colourOf, pictureOf, share, thumbnail } from "../cells.js";
import * as overlay from "./overlay.js";

function byProbability(cell) {
  return Object.entries(cell.probabilities).sort((one, other) => other[1] - one[1]);
}

function reason(name, cell) {
  const [first, second] = byProbability(cell);
  const values = {
    confidence: share(cell.confidence),
    threshold: cell.threshold === null ? "" : share(cell.threshold),
    first: first ? word(first[0]) : "",
    second: second ? word(second[0]) : "",
  };
  if (name === "low_confidence" && cell.threshold === null) return t("review.reason_low_confidence_plain", values);
  const known = ["low_confidence", "ambiguous", "unfamiliar", "poor_image", "cut_off"];
  return known.includes(name) ? t(`review.reason_${name}`, values) : word(name);
}

function bars(cell) {
  return el(
    "table",
    { class: "bars" },
    el("caption", { class: "unseen" }, t("review.probabilities")),
    el(
      "tbody",
      {},
      ...byProbability(cell).map(([name, value]) => {
        const fill = el("span", { class: "fill" });
        fill.style.width = `${100 * value}%`;
        fill.style.background = colourOf(name);
        return el(
          "tr",
          {},
          el("th", { scope: "row" }, word(name)),
          el("td", { class: "range", "aria-hidden": "true" }, el("div", { class: "track" }, fill)),
          el("td", { class: "number" }, share(value)),
        );
      }),
    ),
  );
}

function detail(name, value) {
  return value === null || value === "" ? [] : [el("dt", {}, t(`review.${name}`)), el("dd", {}, value)];
}

/** The device's reading, its reasons, the probabilities, and what such a cell is for. */
export function showSays(card, cell) {
  const known = LABORATORY.includes(cell.class);
  const flagged = cell.verdict === "flagged";
  const parts = [
    el("p", { class: "quiet small" }, t("review.device_says")),
    el(
      "div",
      { class: "row between" },
      el("h2", { class: "said" }, word(cell.class)),
      el("span", { class: flagged ? "tag watch" : "tag good" }, t(`review.verdict_${cell.verdict}`)),
    ),
  ];
  if (cell.reasons.length) {
    parts.push(el("ul", { class: "reasons", "aria-label": t("review.why") }, ...cell.reasons.map((name) => el("li", {}, reason(name, cell)))));
  }
  parts.push(bars(cell));
  parts.push(el("p", { class: "body" }, el("strong", {}, `${t("review.body")}: `), t(known ? `review.body_${cell.class}` : "review.body_other")));
  parts.push(
    el(
      "details",
      {},
      el("summary", {}, t("review.details")),
      el(
        "dl",
        { class: "facts" },
        ...detail("captured", moment(cell.captured_at)),
        ...detail("threshold", cell.threshold === null ? null : share(cell.threshold)),
        ...detail("model", cell.model),
        ...detail("file", cell.file),
        ...detail("views", counted("review.views_text", cell.views)),
        ...detail("throttled", cell.throttled.map(word).join(", ")),
        ...detail("cell_id", cell.id),
      ),
    ),
  );
  const open = card.querySelector("details")?.open;
  card.replaceChildren(...parts);
  if (open) card.querySelector("details").open = true;
}

/**
 * The picture, and the same with what spoke for the device's class: undefined while that is not known, null where the
 * device did not say it. Resolves when both are drawn.
 */
export async function showPicture(cell, saliency, opacity) {
  const box = document.getElementById("picture");
  const canvas = document.getElementById("overlay");
  const alternative = t("review.cell_picture", { cell: cell.id, class: word(cell.class), confidence: share(cell.confidence) });
  let image = null;
  if (cell.pictured) {
    image = el("img", { src: pictureOf(cell), alt: alternative, width: 512, height: 512 });
    box.replaceChildren(image);
    await image.decode().catch(() => {
      image = null;
    });
  }
  if (!image) box.replaceChildren(el("p", { class: "quiet" }, t("review.no_picture")));
  const spoke = document.getElementById("spoke");
  if (overlay.usable(saliency)) {
    const middle = overlay.inMiddle(saliency);
    const where = t(middle >= 0.5 ? "review.where_middle" : "review.where_edge");
    canvas.setAttribute("aria-label", t("review.saliency_picture", { share: share(Math.max(middle, 1 - middle)), class: word(cell.class), where }));
    spoke.textContent = t("review.saliency", { class: word(cell.class) });
  } else {
    const why = t(saliency === undefined ? "review.loading" : "review.saliency_none");
    canvas.setAttribute("aria-label", why);
    spoke.textContent = why;
  }
  if (saliency !== undefined) canvas.dataset.cell = cell.id;
  document.getElementById("opacity").disabled = !overlay.usable(saliency);
  overlay.draw(canvas, image, saliency, opacity);
}

function readingLine(said) {
  const reading = said.reading === null ? t("review.withdrawal") : word(said.reading);
  const who = said.operator || t("review.nobody");
  const parts = [el("strong", {}, reading), ` ${who}, ${time(said.at)}`];
  if (said.withdrawn) parts.push(el("span", { class: "quiet" }, ` (${t("review.withdrawn")})`));
  return parts;
}

/** First and second reading, and everything that was said where there is more. */
export function showReadings(box, cell) {
  const parts = [];
  for (const which of ["first", "second"]) {
    if (cell[which]) parts.push(el("p", {}, el("span", { class: "tag" }, t(`review.${which}_reading`)), " ", ...readingLine(cell[which])));
  }
  if (cell.readings.length > parts.length) {
    parts.push(
      el(
        "details",
        {},
        el("summary", {}, t("review.all_readings")),
        el("ol", {}, ...cell.readings.map((said) => el("li", {}, ...readingLine(said)))),
      ),
    );
  }
  hold(box, ...parts);
}

/** Where a cell stands: decided, on its way, refused, or open. */
export function standingText(cell, waiting, refusal) {
  if (waiting) {
    const reading = waiting.undo ? null : word(waiting.class);
    if (waiting.problem) return ["watch", t("review.waiting_for", { reading: reading ?? t("review.undo"), problem: waiting.problem })];
    return ["watch", reading ? t("review.pending", { reading }) : t("review.pending_undo")];
  }
  if (refusal) return ["bad", refusal];
  if (cell.reviewed !== null) {
    const last = cell.readings.findLast((said) => said.reading !== null && !said.withdrawn);
    return ["good", t("review.decided", { operator: last?.operator || t("review.somebody"), reading: word(cell.reviewed) })];
  }
  return ["", t(cell.verdict === "flagged" ? "review.undecided" : "review.accepted_so")];
}

export function showLike(list, text, cells) {
  const compared = cells.some((cell) => cell.cosine !== null);
  text.textContent = t(cells.length ? (compared ? "review.like_text" : "review.like_plain") : "review.like_none");
  list.replaceChildren(
    ...cells.map((cell) => {
      const near = cell.cosine === null ? share(cell.confidence) : t("review.likeness", { percent: share(Math.max(0, cell.cosine)) });
      return el("li", {}, thumbnail(cell, `${word(cell.class)}, ${near}`, word(cell.class), near));
    }),
  );
}

export function announce(cell, position) {
  say(`${position}: ${word(cell.class)}, ${share(cell.confidence)}`);
}
