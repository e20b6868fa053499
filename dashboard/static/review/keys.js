// Single keys. They can be switched off, for those whose speech or assistive software types by accident.

import { el, t, word } from "../core.js";

const OFF = "leukoscope-keys-off";
const dialog = document.getElementById("keys");
const box = document.getElementById("keys-on");
let names = () => [];

export function showKeys() {
  const line = (keys, text) => [el("dt", {}, ...keys.map((key) => el("kbd", {}, key))), el("dd", {}, text)];
  document.getElementById("keys-list").replaceChildren(
    ...names().flatMap(([name, key]) => (key ? line([key], word(name)) : [])),
    ...line(["→", "J"], t("review.key_next")),
    ...line(["←", "K"], t("review.key_previous")),
    ...line(["U"], t("review.key_undo")),
    ...line(["−", "+"], t("review.key_heat")),
    ...line(["?"], t("review.key_help")),
  );
  dialog.showModal();
}

function typing(target) {
  return target instanceof Element && target.closest("input:not([type=radio], [type=checkbox], [type=range]), select, textarea, dialog");
}

/** Listen to keys and call what belongs to them. */
export function keyboard(calls) {
  names = calls.choices;
  box.checked = !localStorage.getItem(OFF);
  box.addEventListener("change", () => (box.checked ? localStorage.removeItem(OFF) : localStorage.setItem(OFF, "1")));
  const plain = {
    ArrowRight: calls.next,
    j: calls.next,
    ArrowLeft: calls.previous,
    k: calls.previous,
    u: calls.undo,
    "-": calls.weaker,
    "+": calls.stronger,
    "?": showKeys,
  };
  document.addEventListener("keydown", (event) => {
    if (!box.checked || event.ctrlKey || event.altKey || event.metaKey || event.repeat || typing(event.target)) return;
    // On a slider and on radio buttons the arrows do what they always do.
    if (event.key.startsWith("Arrow") && event.target.closest?.("input")) return;
    const call = /^[1-8]$/.test(event.key) ? () => calls.choose(event.key) : plain[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!call) return;
    event.preventDefault();
    call();
  });
}
