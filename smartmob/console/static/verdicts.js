// A comparison: the verdict on the whole, on the machine, and on each test.

import { badge, counted, el, link, number, table } from "./dom.js";
import { level, verdict } from "./states.js";
import { value } from "./values.js";

const MAX_ROWS = 200;

export const itemLink = (path, variant, words, id) =>
  link(words ?? variant, `/console/tests/items?path=${encodeURIComponent(path)}&variant=${encodeURIComponent(variant)}${id ? `&id=${id}` : ""}`);

// The machines of a test run: those that were found, or else the host names that its sessions sent.
export const machines = (run) => [...new Set(run.places.map((place) => place.name))].join(", ") || run.nodes.join(", ") || "–";

// The name of a test run, as the terminal and all pages have it: its id, and its commit.
export const runName = (run) => (run.scm_ref ? `${run.id.slice(0, 12)} (${run.scm_ref.slice(0, 12)})` : run.id.slice(0, 12));

// The name of a test with the class of a method, as far as its location has one; see case_names.py.
export function caseName(row) {
  const [file, ...parts] = row.item_fs_loc.split("[")[0].split("::");
  const name = row.item_variant || row.item;
  if (!parts.length || !file.endsWith(".py")) return name;
  if ([row.item, row.item_variant.split("[")[0]].includes(parts.at(-1))) parts.pop();
  const owner = parts.join("::");
  return !owner || name.startsWith(`${owner}::`) || name.startsWith(`${owner}.`) ? name : `${owner}::${name}`;
}

// A sentence about the metrics of a run that share a name in one session, or nothing.
export function mergedNames(rows) {
  const counts = new Map();
  for (const row of rows) if (row.kind === "function") {
    const key = JSON.stringify([row.session_h, row.item_path, caseName(row)]);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const repeated = [...counts].filter(([, count]) => count > 1);
  if (!repeated.length) return null;
  const [, path, name] = JSON.parse(repeated[0][0]);
  const names = new Set(repeated.map(([key]) => key.slice(key.indexOf(",")))).size;
  return `${names === 1 ? "1 test name was" : `${names} test names were`} executed several times in one session, for example ${name} of ${path} (${repeated[0][1]} times): either repetitions, or methods of the same name in several classes, which pytest-monitor sends without their class. The smallest value counts; give them different names to separate them.`;
}

const factor = (ratio) => (ratio === null ? "–" : `${ratio.toFixed(2)} ×`);

// The reasons that several tests without a verdict share, with the number of these tests: each is said once.
function repeatedReasons(items) {
  const counts = new Map();
  for (const item of items) if (item.verdict === "unfit") counts.set(item.reason, (counts.get(item.reason) ?? 0) + 1);
  return new Map([...counts].filter(([, count]) => count > 1));
}

// Return a comparison: what changed first, all else folded. `recent` has the earlier values of the tests.
export function comparison(found, recent) {
  const { shift, unit } = found;
  const machine = { steady: "good", slower: "warning", faster: "warning" }[shift.verdict] ?? "plain";
  const still = new Map();
  for (const item of found.items) if (item.since) still.set(item.word, (still.get(item.word) ?? 0) + 1);
  const unchanged = found.counts.noise - [...still.values()].reduce((sum, count) => sum + count, 0);
  const counts = [...Object.entries({ ...found.counts, noise: unchanged }).map(([key, count]) => [count, found.words[key], level(key)]), ...[...still].map(([word, count]) => [count, word, "warning"])]
    .filter(([count]) => count > 0).map(([count, word, colour]) => [badge(`${number(count)} ${word}`, colour), " "]);
  const reasons = repeatedReasons(found.items);
  const isRepeated = (item) => item.verdict === "unfit" && reasons.has(item.reason);
  const isNotable = (item) => item.verdict !== "noise" || item.renamed_from || item.since;
  const shown = found.items.filter((item) => isNotable(item) && !isRepeated(item));
  const rest = found.items.filter((item) => !isNotable(item));
  const repeated = found.items.filter(isRepeated);
  const folded = (words, items) => (items.length ? el("details", {}, el("summary", {}, words), table(columns(unit, recent), items.slice(0, MAX_ROWS), "", { key: words }), left(items)) : null);
  return el("div", {},
    el("p", {}, verdict(found), ` ${found.explanation}`),
    el("p", {}, el("span", { class: "quiet" }, "The machine: "), badge(shift.verdict, machine), ` ${shift.explanation}`),
    found.contexts.map((context) => (context.host?.busy ? el("p", {}, badge(`${context.host.host} was busy`, "warning"), ` ${context.host.explanation}`) : null)),
    found.places.explanation ? el("p", {}, badge("in doubt", "warning"), ` ${found.places.explanation}`) : null,
    el("p", {}, counts),
    [...reasons].map(([reason, count]) => el("p", {}, badge(`${number(count)} ${found.words.unfit}`, level("unfit")), ` ${reason}`)),
    shown.length || !repeated.length ? [table(columns(unit, recent), shown.slice(0, MAX_ROWS), "No test changed.", { key: "changed" }), left(shown)] : null,
    folded(`${counted(repeated.length, "test")} that cannot be judged`, repeated),
    folded(`${counted(rest.length, "test")} within the usual variation`, rest));
}

const left = (items) => (items.length > MAX_ROWS ? el("p", { class: "quiet" }, `and ${number(items.length - MAX_ROWS)} more`) : null);

function columns(unit, recent) {
  return [
    { name: "Verdict", cell: verdict },
    { name: "Test", wide: true, cell: (item) => el("span", {}, itemLink(item.path, item.variant, item.variant || item.path, item.item_id), item.renamed_from ? el("span", { class: "quiet" }, ` was ${item.renamed_from}`) : null) },
    { name: "Usual", right: true, title: "The usual value in the runs before", cell: (item) => value(item.level ?? recent.of(item)?.usual ?? null, unit) },
    { name: "Base", right: true, cell: (item) => value(item.base, unit) }, { name: "Head", right: true, cell: (item) => value(item.head, unit) },
    ...recent.columns({ usual: false }),
    { name: "As measured", right: true, cell: (item) => factor(item.ratio) }, { name: "Corrected", right: true, title: "Corrected for the machine", cell: (item) => factor(item.corrected_ratio) },
    { name: "Reason", wide: true, cell: (item) => el("span", { title: item.reason }, item.reason.length > 160 ? `${item.reason.slice(0, 160)}…` : item.reason) },
  ];
}
