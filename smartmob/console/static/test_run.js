// The page of a test run: its tests, and their comparison with earlier runs.

import { fetchJson, showError } from "./api.js";
import { badge, el, fill, link, number, percent, seconds, table, tiles, when } from "./dom.js";
import { live } from "./live.js";
import { keyOf, Recent, recentOf } from "./recent.js";
import { verdict } from "./states.js";
import { caseName, comparison, itemLink, machines, mergedNames } from "./verdicts.js";

const id = document.getElementById("main").dataset.id;

async function metrics() {
  const found = [];
  for (let path = `/api/v1/runs/${encodeURIComponent(id)}/metrics`; path && found.length < 5000;) {
    const page = await fetchJson(path);
    found.push(...(page?.metrics ?? []));
    path = page?.next_url ?? null;
  }
  return found;
}

async function show() {
  const run = await fetchJson(`/api/v1/runs/${encodeURIComponent(id)}`);
  const start = Date.parse(run.started_at) / 1000 - 30, end = Date.parse(run.ended_at) / 1000 + 30;
  fill("summary", tiles([["commit", el("code", {}, run.scm_ref.slice(0, 12) || "–")], ["started", when(run.started_at)], ["machine", run.places.length && !run.unlinked ? run.places.map((place) => link(place.name, `/console/hosts/${encodeURIComponent(place.host)}`)) : machines(run)], ["sessions", number(run.sessions.length)],
    ["tests", number(run.metrics)], ["time in tests", seconds(run.total_time)], ...run.tags.map((tag) => [tag.name, tag.value])]),
  ...run.places.map((place) => el("p", {}, `${place.name}${place.python ? `, Python ${place.python}` : ""}: ${place.explanation}.${place.doubt ? ` In doubt: ${place.doubt}.` : ""}`)),
  ...(run.unlinked && !run.places.some((place) => place.doubt) ? [el("p", {}, badge("not linked to a machine that reports its load", "warning"), ` ${run.unlinked}.`)] : []),
  ...(run.clock ? [el("p", {}, `Time: ${run.clock}.`)] : []),
  el("p", {}, link("Machines during this run", `/console/timeline?from=${start}&to=${end}`)));
  const recent = recentOf(id).catch(() => new Recent());
  const compared = fetchJson(`/api/v1/runs/${encodeURIComponent(id)}/verdict`);
  compared.then(async (found) => fill("verdict", comparison(found, await recent))).catch(showError);
  const found = await metrics();
  const merged = mergedNames(found);
  const { items, words } = await compared.catch(() => ({ items: [], words: {} }));
  const verdicts = new Map(items.map((item) => [keyOf(item), item]));
  const judged = (row) => verdicts.get(keyOf(row)) ?? { verdict: "noise", word: words.noise };
  const usual = await recent;
  found.sort((one, other) => (other.total_time ?? -Infinity) - (one.total_time ?? -Infinity) || 0);
  fill("tests-title", found.length === 1 ? "All tests: 1" : `All tests: ${number(found.length)}`);
  fill("tests", merged ? el("p", { class: "quiet" }, merged) : null, table([
    { name: "Verdict", cell: (row) => verdict(judged(row)) }, { name: "Test", wide: true, cell: (row) => itemLink(row.item_path, row.item_variant, caseName(row)) }, { name: "Where", wide: true, cell: (row) => row.item_path }, { name: "Kind", cell: (row) => row.kind },
    { name: "Time", right: true, cell: (row) => seconds(row.total_time) }, ...usual.columns(), { name: "User", right: true, cell: (row) => seconds(row.user_time) }, { name: "Kernel", right: true, cell: (row) => seconds(row.kernel_time) },
    { name: "CPU", right: true, cell: (row) => percent(row.cpu_usage === null ? null : row.cpu_usage * 100) }, { name: "Memory", right: true, cell: (row) => (row.mem_usage === null ? "–" : `${number(row.mem_usage)} MB`) },
  ], found.slice(0, 1000), "This run has no tests."));
}

show().catch(showError);
live(() => {});
