// What changes, as it changes. A page that nobody sees does not listen: browsers keep only a few connections to a
// server, and what was missed is asked for when it is seen again.

import { address, banner, heard, link, t, time } from "./core.js";

const changed = new Set();
const lost = new Set();
const linked = new Set();
let source = null;
let heardAt = Date.now();
let missed = false;

/** Call `listener(changes)` with a list of {kind, device, sample, cell}. */
export function onChanges(listener) {
  changed.add(listener);
}

/** Call `listener()` when changes were missed and everything must be asked for anew. */
export function onReload(listener) {
  lost.add(listener);
}

/** Call `listener()` when the broker is there again. */
export function onLinked(listener) {
  linked.add(listener);
}

export function showLink(state) {
  const text = state.connected ? "" : t("common.link_lost", { time: time(1000 * state.since), problem: state.problem });
  banner("link", text);
}

function listen() {
  // Also what changed while the page and its script were on their way.
  source = new EventSource(`${address("/events")}?since=${encodeURIComponent(heard)}`);
  source.onopen = () => {
    banner("stream", "");
    if (missed) lost.forEach((listener) => listener());
    missed = false;
  };
  source.onerror = () => {
    if (!missed) heardAt = Date.now();
    missed = true;
    banner("stream", t("common.stream_lost", { time: time(heardAt) }));
    // An answer that is no stream ends it for good: a proxy's error page, or the sign-in has ended, which whoever asks
    // for everything again is told.
    if (source.readyState === EventSource.CLOSED) {
      source = null;
      lost.forEach((listener) => listener());
      setTimeout(() => !source && !document.hidden && listen(), 5000);
    }
  };
  source.addEventListener("changes", (event) => changed.forEach((listener) => listener(JSON.parse(event.data))));
  source.addEventListener("reload", () => lost.forEach((listener) => listener()));
  source.addEventListener("link", (event) => {
    const state = JSON.parse(event.data);
    showLink(state);
    if (state.connected) linked.forEach((listener) => listener());
  });
}

/** Begin to listen; for pages that show what may change. */
export function start() {
  if (link) showLink(link);
  listen();
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && source) {
      source.close();
      source = null;
      missed = true;
    } else if (!document.hidden && !source) {
      listen();
    }
  });
}
