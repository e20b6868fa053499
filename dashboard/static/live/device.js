// What the device says of itself: problems, figures, frames that were not read, throttling.

import { counted, el, hold, percent, t, time } from "../core.js";
import { skipWord } from "./field.js";

const byId = (id) => document.getElementById(id);

function throttlingWord(name) {
  return t(name === "throttled" ? "live.throttled_word" : `live.${name}`);
}

export function showProblems(problems) {
  byId("problems").hidden = !problems.length;
  byId("problems").querySelector("ul").replaceChildren(...problems.map(({ text, since }) => el(
    "li", {}, text, " ", el("span", { class: "quiet" }, t("live.problem_since", { time: time(since) })),
  )));
}

/** That a device is away, and since when. */
export function showAway(device) {
  byId("away").hidden = device.state === "online";
  byId("away").textContent = t(device.state === "offline" ? "live.away" : "live.unheard", { device: device.name, time: time(device.heard_at) });
}

export function showFigures(device) {
  const { metrics } = device;
  const rows = [["model", device.model], ["threshold", device.threshold === null ? "" : device.threshold.toFixed(2)], ["version", device.version]];
  if (metrics) {
    rows.push(
      ["frames_per_s", metrics.frames_per_s.toFixed(1)],
      ["queue", String(metrics.queue)],
      ["dropped", String(metrics.dropped)],
      ["outbox", String(metrics.outbox)],
    );
    if (metrics.temperature_c !== null) rows.push(["temperature", `${metrics.temperature_c.toFixed(0)} °C`]);
  }
  byId("figures").replaceChildren(...rows.filter(([, value]) => value).map(([name, value]) => el(
    "div", {}, el("dt", {}, t(`live.${name}`)), el("dd", {}, value),
  )));
  const [now, past] = [device.throttled_now, device.throttled_since_boot];
  const notice = byId("throttled");
  notice.hidden = !now.length && !past.length;
  notice.classList.toggle("bad", now.length > 0);
  notice.textContent = `${t(now.length ? "live.throttled" : "live.throttled_past")}: ${(now.length ? now : past).map(throttlingWord).join(", ")}`;
}

export function showSkipped(metrics) {
  const skipped = Object.entries(metrics?.skipped ?? {}).filter(([, count]) => count).sort((a, b) => b[1] - a[1]);
  const sum = skipped.reduce((total, [, count]) => total + count, 0);
  const frames = metrics?.frames ?? 0;
  byId("skipped-text").textContent = sum ? t("live.skipped_of", { skipped: sum, frames }) : t(metrics ? "live.skipped_none" : "live.skipped_unknown");
  byId("skipped").replaceChildren(...skipped.map(([reason, count]) => el(
    "li", {},
    el("span", {}, skipWord(reason)),
    el("meter", { min: 0, max: Math.max(1, sum), value: count, "aria-hidden": "true" }),
    el("span", { class: "number" }, `${count} (${percent((100 * count) / Math.max(1, frames), 0)})`),
  )));
}

const NATURAL = new Intl.Collator("en", { numeric: true });

/** The list of all devices, one of them chosen, as one counts: bench-2 before bench-10. */
export function showDevices(devices, chosen) {
  const sorted = [...devices].sort((one, other) => NATURAL.compare(one.name, other.name));
  hold(byId("devices"), ...sorted.map((device) => {
    const line = device.sample
      ? t("live.line_sample", { sample: device.sample, accepted: device.accepted, target: device.target ?? "–" })
      : t("live.line_no_sample");
    const link = el(
      "a", { href: `?device=${encodeURIComponent(device.name)}`, "aria-current": device.name === chosen ? "true" : null },
      el("span", { class: "device-name", title: device.name }, device.name),
      device.problems ? el("span", { class: "tag watch" }, counted("live.problem_count", device.problems)) : null,
      el("span", { class: `tag ${{ online: "good", offline: "bad" }[device.state] ?? ""}` }, t(`live.state_${device.state}`)),
      el("span", { class: "line", title: line }, line),
    );
    return el("li", {}, link);
  }));
  const ill = devices.filter((device) => device.problems).length;
  const away = devices.filter((device) => device.state !== "online").length;
  const parts = [t("live.device_count", { count: devices.length }), away ? t("live.away_count", { count: away }) : "", ill ? t("live.ill_count", { count: ill }) : ""];
  byId("devices-text").hidden = devices.length < 4;
  byId("devices-text").textContent = parts.filter(Boolean).join(" · ");
}
