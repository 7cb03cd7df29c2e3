// A comparison: the verdict on the whole, on the machine, and on each test.

import { badge, el, link, number, table } from "./dom.js";
import { Recent } from "./recent.js";
import { level, state } from "./states.js";
import { value } from "./values.js";

const MAX_ROWS = 200;
const FEW = 3; // tests whose reason is told at each of them

export const itemLink = (path, variant, words, id) =>
  link(words ?? variant, `/console/tests/items?path=${encodeURIComponent(path)}&variant=${encodeURIComponent(variant)}${id ? `&id=${id}` : ""}`);

const factor = (ratio) => (ratio === null ? "–" : `${ratio.toFixed(2)} ×`);

// The reason of most tests, if it is the reason of more than half of those without a verdict: it is said once.
function commonReason(items) {
  const counts = new Map();
  for (const item of items) if (item.verdict === "unfit") counts.set(item.reason, (counts.get(item.reason) ?? 0) + 1);
  const [reason, count] = [...counts].sort(([, one], [, other]) => other - one)[0] ?? [null, 0];
  return count > FEW && count * 2 > items.length ? reason : null;
}

// Return a comparison: what changed first, all else folded. `recent` has the earlier values of the tests.
export function comparison(found, recent = new Recent()) {
  const { shift, unit } = found;
  const machine = { steady: "good", slower: "warning", faster: "warning" }[shift.verdict] ?? "plain";
  const counts = Object.entries(found.counts).filter(([, count]) => count).map(([name, count]) => [badge(`${number(count)} ${name}`, level(name)), " "]);
  const common = commonReason(found.items);
  const silent = (item) => item.verdict === "unfit" && item.reason === common;
  const rest = found.items.filter((item) => item.verdict === "noise" && !item.renamed_from);
  const alike = found.items.filter(silent);
  const shown = found.items.filter((item) => !silent(item) && (item.verdict !== "noise" || item.renamed_from));
  const folded = (words, items) => (items.length ? el("details", {}, el("summary", {}, words), table(columns(unit, recent), items.slice(0, MAX_ROWS), "", { key: words }), left(items)) : null);
  return el("div", {},
    el("p", {}, state(found.verdict), ` ${found.explanation}`),
    el("p", {}, el("span", { class: "quiet" }, "The machine: "), badge(shift.verdict, machine), ` ${shift.explanation}`),
    found.contexts.map((context) => (context.host?.busy ? el("p", {}, badge(`${context.host.host} was busy`, "warning"), ` ${context.host.explanation}`) : null)),
    found.places.explanation ? el("p", {}, badge("in doubt", "warning"), ` ${found.places.explanation}`) : null,
    el("p", {}, counts),
    table(columns(unit, recent), shown.slice(0, MAX_ROWS), alike.length ? "No other test changed." : "No test changed.", { key: "changed" }), left(shown),
    alike.length ? el("p", {}, state("unfit"), ` ${number(alike.length)} tests: ${common}.`) : null,
    folded(`${number(alike.length)} tests that cannot be compared`, alike),
    folded(`${number(rest.length)} tests within their usual variation`, rest));
}

const left = (items) => (items.length > MAX_ROWS ? el("p", { class: "quiet" }, `and ${number(items.length - MAX_ROWS)} more`) : null);

function columns(unit, recent) {
  return [
    { name: "Verdict", cell: (item) => state(item.verdict) },
    { name: "Test", wide: true, cell: (item) => el("span", {}, itemLink(item.path, item.variant, item.variant || item.path, item.item_id), item.renamed_from ? el("span", { class: "quiet" }, ` was ${item.renamed_from}`) : null) },
    { name: "Usual", right: true, title: "The usual value in the runs before", cell: (item) => value(item.level ?? recent.of(item)?.usual ?? null, unit) },
    { name: "Base", right: true, cell: (item) => value(item.base, unit) }, { name: "Head", right: true, cell: (item) => value(item.head, unit) },
    ...recent.columns({ usual: false }),
    { name: "As measured", right: true, cell: (item) => factor(item.ratio) }, { name: "Corrected", right: true, title: "Corrected for the machine", cell: (item) => factor(item.corrected_ratio) },
    { name: "Reason", wide: true, cell: (item) => el("span", { title: item.reason }, item.reason.length > 160 ? `${item.reason.slice(0, 160)}…` : item.reason) },
  ];
}
