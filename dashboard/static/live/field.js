// What the camera sees, asked for every few seconds while somebody looks: the page is shown, the picture is in view,
// and nobody has paused it.

import { share } from "../cells.js";
import { address, el, getJson, t, time, word } from "../core.js";

const EVERY_MS = 3000;
const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** The boxes over a picture; flagged ones are dashed, so that colour says nothing alone. */
function boxes(view, shownWidth) {
  const scale = view.width / Math.max(1, shownWidth); // pixels of the picture in one of the page
  const marks = view.boxes.map(({ box: [left, top, width, height], class: name, confidence, verdict }) => {
    const above = top > 22 * scale;
    const right = left + width / 2 > 0.6 * view.width; // its name goes to the left, where there is room
    const text = svg("text", {
      x: right ? left + width : left, "text-anchor": right ? "end" : "start", y: above ? top - 6 * scale : top + height + 15 * scale, "font-size": 12 * scale, class: "name",
    }, `${word(name)} ${share(confidence)}`);
    return svg("g", { class: verdict }, svg("rect", {
      x: left, y: top, width, height, "stroke-width": 2.5 * scale, "stroke-dasharray": verdict === "flagged" ? `${6 * scale} ${4 * scale}` : "none",
    }), text);
  });
  return svg("svg", { viewBox: `0 0 ${view.width} ${view.height}`, "aria-hidden": "true" }, ...marks);
}

export class Field {
  constructor() {
    this.device = "";
    this.box = document.getElementById("field");
    this.text = document.getElementById("field-text");
    this.toggle = document.getElementById("field-toggle");
    this.paused = false;
    this.seen = false;
    this.timer = null;
    new IntersectionObserver(([entry]) => {
      this.seen = entry.isIntersecting;
      this.#go();
    }).observe(this.box);
    document.addEventListener("visibilitychange", () => this.#go());
    this.toggle.addEventListener("click", () => {
      this.paused = !this.paused;
      this.toggle.textContent = t(this.paused ? "live.resume" : "live.pause");
      if (this.paused) this.text.textContent = t("live.paused");
      this.#go();
    });
  }

  /** Look at another device. */
  of(device, online) {
    if (device !== this.device || online !== this.online) {
      const empty = !this.box.querySelector("img") || device !== this.device;
      if (empty) this.box.replaceChildren(el("p", { class: "quiet" }, t(online ? "live.field_waiting" : "live.field_away")));
      if (empty) this.text.textContent = "";
    }
    this.toggle.hidden = !online;
    this.device = device;
    this.online = online;
    this.#go();
  }

  #go() {
    const looks = this.device && this.online && this.seen && !this.paused && !document.hidden;
    if (looks && this.timer === null) this.#ask();
    if (!looks && this.timer !== null) {
      clearTimeout(this.timer);
      this.timer = null;
    }
  }

  async #ask() {
    const device = this.device;
    this.timer = setTimeout(() => {}, 0);
    try {
      const { view, problem } = await getJson(address("/data/devices", device, "field"), { byItself: true });
      if (device !== this.device || this.paused) return;
      if (view) this.#show(view);
      else this.text.textContent = t("live.field_failed", { problem });
    } catch (error) {
      this.text.textContent = t("live.field_failed", { problem: error.message });
    } finally {
      if (this.timer !== null) {
        this.timer = setTimeout(() => {
          this.timer = null;
          this.#go();
        }, EVERY_MS);
      }
    }
  }

  #show(view) {
    const count = view.boxes.length;
    const picture = el("img", { src: view.image, width: view.width, height: view.height, alt: t("live.field_alt", { count }) });
    this.box.replaceChildren(picture, boxes(view, this.box.clientWidth));
    this.text.textContent = view.skipped
      ? t("live.field_skipped", { time: time(view.captured_at), reason: skipWord(view.skipped) })
      : t("live.field_at", { time: time(view.captured_at), count });
  }
}

export function skipWord(reason) {
  try {
    return t(`live.skip_${reason}`);
  } catch {
    return reason.replaceAll("_", " ");
  }
}
