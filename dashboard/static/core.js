// What the scripts of all pages share. Everything that came from a device is written with textContent.

const island = JSON.parse(document.getElementById("island").textContent);

export const mayReview = island.review;
export const link = island.link;
export const heard = island.heard; // how much of the changes the server had told when it made the page

/** A string, `page.key`, with what stands in its braces. */
export function t(name, values = {}) {
  const text = island.strings[name];
  if (text === undefined) throw new Error(`there is no string ${name}`);
  return text.replace(/\{(\w+)\}/g, (_, key) => String(values[key]));
}

/** A string where there is one, else the word itself: for what a device names and this program may not know. */
export function word(name) {
  return island.strings[`common.${name}`] ?? name.replaceAll("_", " ");
}

/** An address of this dashboard, wherever a proxy shows it. Each further part becomes one part of the path. */
export function address(path, ...parts) {
  return island.root + path + parts.map((part) => `/${encodeURIComponent(part)}`).join("");
}

export class Failure extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

async function answer(response) {
  if (response.ok) return response.json();
  let sentence = response.statusText || String(response.status);
  if ((response.headers.get("content-type") ?? "").includes("json")) sentence = (await response.json()).error ?? sentence;
  throw new Failure(response.status, sentence);
}

/** Ask for data. `byItself`: nobody did anything, so it keeps nobody signed in. */
export async function getJson(path, { byItself = false, signal } = {}) {
  const headers = { accept: "application/json" };
  if (byItself) headers["x-leukoscope-refresh"] = "1";
  return answer(await fetch(path, { headers, signal }));
}

export async function postJson(path, body = {}) {
  const headers = { accept: "application/json", "content-type": "application/json" };
  return answer(await fetch(path, { method: "POST", headers, body: JSON.stringify(body) }));
}

/** Makes a way to wait for answers of which an older one that comes after a newer one is null: what it says is past. */
export function newest() {
  let asked = 0;
  let shown = 0;
  return async (answer) => {
    const turn = (asked += 1);
    const found = await answer;
    if (turn < shown) return null;
    shown = turn;
    return found;
  };
}

/** An element: `el("p", {class: "quiet"}, "text", child)`. Text is text, whatever it holds. */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/**
 * Have a box hold these nodes. What it holds already stays, so that a press that began on it goes on while news come
 * in; a button that is another is replaced as a whole, because what it does may be another thing too.
 */
export function hold(box, ...children) {
  const before = [...box.childNodes];
  children.forEach((child, place) => {
    const there = before[place];
    if (there?.localName === "details") child.open = there.open;
    if (!there) box.append(child);
    else if (there.isEqualNode(child)) return;
    else if (child.localName && child.localName !== "button" && there.cloneNode().isEqualNode(child.cloneNode())) hold(there, ...child.childNodes);
    else there.replaceWith(child);
  });
  before.slice(children.length).forEach((node) => node.remove());
}

export const LABORATORY = ["neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil"];

/** Classes in the order in which laboratories list them; others follow as they came. */
export function inOrder(names) {
  return [...LABORATORY.filter((name) => names.includes(name)), ...names.filter((name) => !LABORATORY.includes(name))];
}

/** A mark in the colour of a class; its name always stands beside it. */
export function swatch(name) {
  return el("span", { class: "swatch", "data-class": name, "aria-hidden": "true" });
}

/** A sentence for one or for many: `page.key_one` where the count is 1. */
export function counted(name, count, values = {}) {
  return t(count === 1 ? `${name}_one` : name, { count: count.toLocaleString("en"), ...values });
}

/** Tell a screen reader, politely. */
export function say(text) {
  document.getElementById("say").textContent = text;
}

const shown = new Map();

/** A line at the top of the page, one for each `key`; no text takes it away. */
export function banner(key, text) {
  if (text) shown.set(key, text);
  else shown.delete(key);
  document.getElementById("banner").replaceChildren(...[...shown.values()].map((line) => el("p", {}, line)));
}

const HOUR = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };

/** A day as 2026-01-31, here and not in UTC. */
function day(date) {
  return [date.getFullYear(), date.getMonth() + 1, date.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
}

/** A moment of today as its time, another with its day before it; in the time of whoever looks. */
export function time(value) {
  const date = new Date(value);
  return day(date) === day(new Date()) ? date.toLocaleTimeString("en", HOUR) : moment(value);
}

/** A moment with its day; in the time of whoever looks. */
export function moment(value, { seconds = true } = {}) {
  const date = new Date(value);
  const clock = date.toLocaleTimeString("en", HOUR);
  return `${day(date)} ${seconds ? clock : clock.slice(0, 5)}`;
}

export function percent(value, digits = 1) {
  return `${value.toFixed(digits)} %`;
}
