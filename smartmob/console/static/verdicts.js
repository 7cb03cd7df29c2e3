// A comparison: the verdict on the whole, on the machine, and on each test.

import { badge, el, link, number, seconds, table } from "./dom.js";
import { level, verdict } from "./states.js";

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
  const still = new Map();
  for (const item of found.items) if (item.since) still.set(item.word, (still.get(item.word) ?? 0) + 1);
  const unchanged = found.counts.noise - [...still.values()].reduce((sum, count) => sum + count, 0);
  const counts = [...Object.entries({ ...found.counts, noise: unchanged }).map(([key, count]) => [count, found.words[key], level(key)]), ...[...still].map(([word, count]) => [count, word, "warning"])]
    .filter(([count]) => count > 0).map(([count, word, colour]) => [badge(`${number(count)} ${word}`, colour), " "]);
  const reasons = new Map();
  for (const item of found.items) if (item.verdict === "unfit") reasons.set(item.reason, (reasons.get(item.reason) ?? 0) + 1);
  const isRepeated = (item) => item.verdict === "unfit" && reasons.get(item.reason) > 1;
  const isNotable = (item) => item.verdict !== "noise" || item.renamed_from || item.since;
  const shown = found.items.filter((item) => isNotable(item) && !isRepeated(item));
  const rest = found.items.filter((item) => !isNotable(item));
  const repeated = found.items.filter(isRepeated);
  return el("div", {},
    el("p", {}, verdict(found), ` ${found.explanation}`),
    el("p", {}, el("span", { class: "quiet" }, "The machine: "), badge(shift.verdict, machine), ` ${shift.explanation}`),
    found.contexts.map((context) => (context.host?.busy ? el("p", {}, badge(`${context.host.host} was busy`, "warning"), ` ${context.host.explanation}`) : null)),
    found.places.explanation ? el("p", {}, badge("in doubt", "warning"), ` ${found.places.explanation}`) : null,
    el("p", {}, counts),
    [...reasons].filter(([, count]) => count > 1).map(([reason, count]) => el("p", {}, badge(`${number(count)} ${found.words.unfit}`, level("unfit")), ` ${reason}`)),
    shown.length || !repeated.length ? table(columns(unit), shown.slice(0, MAX_ROWS), "No test changed.") : null,
    repeated.length ? el("details", {}, el("summary", {}, `${number(repeated.length)} tests that cannot be judged`), el("ul", {}, repeated.slice(0, MAX_ROWS).map((item) => el("li", {}, itemLink(item.path, item.variant, item.variant || item.path, item.item_id))))) : null,
    rest.length ? el("details", {}, el("summary", {}, `${number(rest.length)} tests within their usual variation`), table(columns(unit), rest.slice(0, MAX_ROWS), "")) : null);
}

function columns(unit) {
  return [
    { name: "Verdict", cell: verdict },
    { name: "Test", wide: true, cell: (item) => el("span", {}, itemLink(item.path, item.variant, item.variant || item.path, item.item_id), item.renamed_from ? el("span", { class: "quiet" }, ` was ${item.renamed_from}`) : null) },
    { name: "Base", right: true, cell: (item) => value(item.base ?? item.level, unit) }, { name: "Head", right: true, cell: (item) => value(item.head, unit) },
    { name: "As measured", right: true, cell: (item) => factor(item.ratio) }, { name: "Corrected for the machine", right: true, cell: (item) => factor(item.corrected_ratio) },
    { name: "Reason", wide: true, cell: (item) => el("span", { title: item.reason }, item.reason.length > 160 ? `${item.reason.slice(0, 160)}…` : item.reason) },
  ];
}
