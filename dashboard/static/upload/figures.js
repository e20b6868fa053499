// Tallies, and the comparison with labels. The browser counts; limits and figures are the server's.

import { counted, el, inOrder, percent, t, word } from "../core.js";
import { differentialTable, range } from "../differential.js";

const SVG = "http://www.w3.org/2000/svg";

/** Counts at the threshold, with the server's limits where it has said them for the same cells. */
export function tallies(cells, figures) {
  const { classes, accepted, flagged, reasons } = cells.tally();
  const limits = figures && figures.threshold === cells.threshold && figures.accepted === accepted ? figures.shares : [];
  const rows = cells.classes.map((name) => {
    const said = limits.find((each) => each.class === name);
    return {
      class: name,
      count: classes[name],
      percent: accepted ? (100 * classes[name]) / accepted : null,
      limits: said ? [said.low, said.high] : null,
    };
  });
  const why = Object.entries(reasons).sort((a, b) => b[1] - a[1]);
  return [
    differentialTable(rows, { referenced: false }),
    el("p", { class: "counts" }, t("upload.counts", { accepted: accepted.toLocaleString("en"), flagged: flagged.toLocaleString("en") })),
    why.length
      ? el("p", { class: "quiet" }, why.map(([reason, count]) => `${word(reason)} ${count.toLocaleString("en")}`).join(" · "))
      : null,
  ].filter(Boolean);
}

function svg(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const number = (value) => (value === null ? "–" : value.toFixed(3));

function rate(value) {
  if (value.percent === null) return "–";
  return t("upload.rate", { percent: percent(value.percent), limits: range([value.low, value.high]), count: value.count, total: value.total });
}

/** The same with its classes as laboratories list them. */
function sorted(found) {
  const classes = inOrder(found.classes);
  const places = classes.map((name) => found.classes.indexOf(name));
  return {
    ...found,
    classes,
    by_class: classes.map((name) => found.by_class.find((each) => each.name === name)).filter(Boolean),
    confusion: places.map((row) => places.map((column) => found.confusion[row][column])),
  };
}

/** Everything about labels: [] where there are none. */
export function evaluation(figures) {
  if (!figures?.evaluation) return [];
  const found = sorted(figures.evaluation);
  const facts = [
    ["accuracy", rate(found.accuracy)],
    ["accuracy_accepted", rate(found.accuracy_accepted)],
    ["accepted_and_wrong", rate(found.accepted_and_wrong)],
    ["macro_f1", number(found.macro_f1)],
    ["without_cell", found.without_cell],
  ];
  const parts = [el("h2", {}, found.pictures ? counted("upload.against_labels", found.pictures) : t("upload.against_none"))];
  // Labels of other kinds only leave nothing to compare.
  if (found.pictures) {
    parts.push(
      el("dl", { class: "facts" }, ...facts.flatMap(([key, value]) => [el("dt", {}, t(`upload.${key}`)), el("dd", {}, String(value))])),
      el("div", { class: "pair" }, byClass(found), confusion(found), roc(found)),
    );
  }
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
  if (figures.unlabelled) parts.push(el("p", { class: "quiet" }, counted("upload.unlabelled", figures.unlabelled)));
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

/** A piece of a curve, as the legend shows it: each has dashes of its own, for those who do not see its colour. */
function sign(name, at) {
  const line = svg("line", { x1: 0, x2: 28, y1: 5, y2: 5, class: `curve curve-${at % 6}`, "data-class": name });
  return svg("svg", { viewBox: "0 0 28 10", class: "sign", "aria-hidden": "true" }, line);
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
    drawing.append(svg("path", { d, class: `curve curve-${at % 6}`, "data-class": each.name }, svg("title", {}, word(each.name))));
  });
  const legend = curves.map((each, at) =>
    el("li", {}, sign(each.name, at), `${word(each.name)} ${number(each.auc)}`),
  );
  return el("figure", { class: "curves" }, el("figcaption", {}, t("upload.roc")), drawing, el("ul", {}, ...legend));
}
