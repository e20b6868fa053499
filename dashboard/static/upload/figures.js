// Tallies, and the comparison with labels. The browser counts; limits and figures are the server's.

import { el, percent, t, word } from "../core.js";

const SVG = "http://www.w3.org/2000/svg";

/** Counts at the threshold, with the server's limits where it has said them for the same cells. */
export function tallies(cells, figures) {
  const { classes, accepted, flagged, reasons } = cells.tally();
  const limits = figures && figures.threshold === cells.threshold && figures.accepted === accepted ? figures.shares : [];
  const rows = cells.classes.map((name) => {
    const share = accepted ? (100 * classes[name]) / accepted : 0;
    const said = limits.find((each) => each.class === name);
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, word(name)),
      el("td", { class: "number" }, classes[name].toLocaleString()),
      el("td", { class: "number" }, accepted ? share.toFixed(1) : "–"),
      el("td", { class: "number quiet" }, !accepted ? "–" : said ? `${said.low.toFixed(1)}–${said.high.toFixed(1)}` : "…"),
      el("td", { class: "share" }, bar(share, said)),
    );
  });
  const head = ["class", "cells_column", "share", "limits"].map((key, at) =>
    el("th", { scope: "col", class: at ? "number" : null }, t(`upload.${key}`)),
  );
  const why = Object.entries(reasons).sort((a, b) => b[1] - a[1]);
  return [
    el("table", { class: "tally" }, el("thead", {}, el("tr", {}, ...head, el("td", {}))), el("tbody", {}, ...rows)),
    el("p", { class: "counts" }, t("upload.counts", { accepted: accepted.toLocaleString(), flagged: flagged.toLocaleString() })),
    why.length
      ? el("p", { class: "quiet" }, why.map(([reason, count]) => `${word(reason)} ${count.toLocaleString()}`).join(" · "))
      : null,
  ].filter(Boolean);
}

function svg(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function bar(share, said) {
  const drawing = svg("svg", { viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" });
  drawing.append(svg("rect", { x: 0, y: 2, width: share, height: 8, class: "bar" }));
  if (said) drawing.append(svg("line", { x1: said.low, x2: said.high, y1: 6, y2: 6, class: "whisker" }));
  return drawing;
}

const number = (value) => (value === null ? "–" : value.toFixed(3));

function rate(value) {
  if (value.percent === null) return "–";
  return `${percent(value.percent)} (${value.low.toFixed(1)}–${value.high.toFixed(1)}), ${value.count} / ${value.total}`;
}

/** Everything about labels: [] where there are none. */
export function evaluation(figures) {
  const found = figures?.evaluation;
  if (!found) return [];
  const facts = [
    ["accuracy", rate(found.accuracy)],
    ["accuracy_accepted", rate(found.accuracy_accepted)],
    ["accepted_and_wrong", rate(found.accepted_and_wrong)],
    ["macro_f1", number(found.macro_f1)],
    ["without_cell", found.without_cell],
  ];
  const parts = [
    el("h2", {}, t("upload.against_labels", { count: found.pictures.toLocaleString() })),
    el("dl", { class: "facts" }, ...facts.flatMap(([key, value]) => [el("dt", {}, t(`upload.${key}`)), el("dd", {}, String(value))])),
    el("div", { class: "pair" }, byClass(found), confusion(found), roc(found)),
  ];
  const others = Object.entries(found.other_kinds);
  if (others.length) {
    parts.push(
      table(
        t("upload.other_kinds"),
        [t("upload.kind"), t("upload.kind_flagged")],
        others.map(([kind, value]) => [kind, rate(value)]),
      ),
    );
  }
  if (figures.unlabelled) parts.push(el("p", { class: "quiet" }, t("upload.unlabelled", { count: figures.unlabelled })));
  if (figures.unused.length) {
    parts.push(el("p", { class: "quiet" }, t("upload.unused", { names: figures.unused.slice(0, 5).join(", ") })));
  }
  return parts;
}

function table(caption, head, rows) {
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el(
      "table",
      { class: "compact" },
      el("caption", {}, caption),
      el("thead", {}, el("tr", {}, ...head.map((text, at) => el("th", { scope: "col", class: at ? "number" : null }, text)))),
      el(
        "tbody",
        {},
        ...rows.map(([first, ...rest]) =>
          el("tr", {}, el("th", { scope: "row" }, first), ...rest.map((text) => el("td", { class: "number" }, String(text)))),
        ),
      ),
    ),
  );
}

function byClass(found) {
  const head = ["class", "pictures_column", "precision", "recall", "f1", "auc"].map((key) => t(`upload.${key}`));
  const rows = found.by_class.map((each) => [
    word(each.name),
    each.support,
    number(each.precision),
    number(each.recall),
    number(each.f1),
    number(each.auc),
  ]);
  return table(t("upload.by_class"), head, rows);
}

function confusion(found) {
  const rows = found.classes.map((name, at) => [word(name), ...found.confusion[at]]);
  const made = table(t("upload.confusion"), [t("upload.label_read"), ...found.classes.map(word)], rows);
  made.classList.add("confusion");
  made.querySelectorAll("tbody tr").forEach((row, at) => {
    const total = found.confusion[at].reduce((sum, count) => sum + count, 0);
    row.querySelectorAll("td").forEach((cell, column) => {
      const share = total ? found.confusion[at][column] / total : 0;
      if (!share) cell.classList.add("none");
      else cell.classList.add(column === at ? "right" : "wrong");
      cell.style.setProperty("--share", share.toFixed(3));
    });
  });
  return made;
}

/** One class against all others, each a line. */
function roc(found) {
  const curves = found.by_class.filter((each) => each.roc.length);
  if (!curves.length) return el("div");
  const said = curves.map((each) => `${word(each.name)} ${number(each.auc)}`).join(", ");
  const drawing = svg("svg", { viewBox: "-20 -4 128 122", role: "img", "aria-label": t("upload.roc_said", { said }), class: "roc" });
  for (let step = 0; step <= 100; step += 25) {
    drawing.append(svg("path", { d: `M0 ${step}H100M${step} 0V100`, class: "grid" }));
    drawing.append(svg("text", { x: step, y: 107, "text-anchor": "middle" }, String(step / 100)));
    drawing.append(svg("text", { x: -2, y: 101.5 - step, "text-anchor": "end" }, String(step / 100)));
  }
  drawing.append(svg("path", { d: "M0 100L100 0", class: "chance" }));
  drawing.append(svg("text", { x: 50, y: 115, "text-anchor": "middle" }, t("upload.false_positive")));
  drawing.append(svg("text", { x: -50, y: -14.5, "text-anchor": "middle", transform: "rotate(-90)" }, t("upload.true_positive")));
  curves.forEach((each, at) => {
    const d = each.roc.map(([x, y], place) => `${place ? "L" : "M"}${(100 * x).toFixed(2)} ${(100 - 100 * y).toFixed(2)}`).join("");
    drawing.append(svg("path", { d, class: `curve curve-${at % 6}` }, svg("title", {}, word(each.name))));
  });
  const legend = curves.map((each, at) =>
    el("li", {}, el("span", { class: `swatch curve-${at % 6}` }), `${word(each.name)} ${number(each.auc)}`),
  );
  return el("figure", { class: "curves" }, el("figcaption", {}, t("upload.roc")), drawing, el("ul", {}, ...legend));
}
