// A comparison: the verdict on the whole, on the machine, and on each test.

import { badge, el, link, number, seconds, table } from "./dom.js";
import { level, state } from "./states.js";

const MAX_ROWS = 200;

export const itemLink = (path, variant, words, id) =>
  link(words ?? variant, `/console/tests/items?path=${encodeURIComponent(path)}&variant=${encodeURIComponent(variant)}${id ? `&id=${id}` : ""}`);

export function value(found, unit) {
  if (found === null) return "–";
  return unit === "s" ? seconds(found) : `${number(found, 2)} ${unit}`;
}

const factor = (ratio) => (ratio === null ? "–" : `${ratio.toFixed(2)} ×`);

export function comparison(found) {
  const { shift, unit } = found;
  const machine = { steady: "good", slower: "warning", faster: "warning" }[shift.verdict] ?? "plain";
  const counts = Object.entries(found.counts).filter(([, count]) => count).map(([name, count]) => [badge(`${number(count)} ${name}`, level(name)), " "]);
  const shown = found.items.filter((item) => item.verdict !== "noise" || item.renamed_from);
  const rest = found.items.filter((item) => item.verdict === "noise" && !item.renamed_from);
  return el("div", {},
    el("p", {}, state(found.verdict), ` ${found.explanation}`),
    el("p", {}, el("span", { class: "quiet" }, "The machine: "), badge(shift.verdict, machine), ` ${shift.explanation}`),
    found.contexts.map((context) => (context.host?.busy ? el("p", {}, badge(`${context.host.host} was busy`, "warning"), ` ${context.host.explanation}`) : null)),
    found.places.explanation ? el("p", {}, badge("in doubt", "warning"), ` ${found.places.explanation}`) : null,
    el("p", {}, counts),
    table(columns(unit), shown.slice(0, MAX_ROWS), "No test changed."),
    rest.length ? el("details", {}, el("summary", {}, `${number(rest.length)} tests within their usual variation`), table(columns(unit), rest.slice(0, MAX_ROWS), "")) : null);
}

function columns(unit) {
  return [
    { name: "Verdict", cell: (item) => state(item.verdict) },
    { name: "Test", wide: true, cell: (item) => el("span", {}, itemLink(item.path, item.variant, item.variant || item.path, item.item_id), item.renamed_from ? el("span", { class: "quiet" }, ` was ${item.renamed_from}`) : null) },
    { name: "Base", right: true, cell: (item) => value(item.base ?? item.level, unit) }, { name: "Head", right: true, cell: (item) => value(item.head, unit) },
    { name: "As measured", right: true, cell: (item) => factor(item.ratio) }, { name: "Corrected for the machine", right: true, cell: (item) => factor(item.corrected_ratio) },
    { name: "Reason", wide: true, cell: (item) => el("span", { title: item.reason }, item.reason.length > 160 ? `${item.reason.slice(0, 160)}…` : item.reason) },
  ];
}
