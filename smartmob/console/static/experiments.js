// The page of stored experiments: their sides, and how many tests became slower.

import { fetchJson, showError } from "./api.js";
import { el, emptyState, link, number, seconds, table, update, when } from "./dom.js";
import { side, verdictBadge } from "./forest.js";
import { live, onNews } from "./live.js";

const PAGE = 50;
const MOST = 1000; // experiments that the service lists at once
let limit = PAGE;

const count = (verdict) => (row) => (row.counts[verdict] ? number(row.counts[verdict]) : "–");
const open = (row) => number((row.counts.undecided ?? 0) + (row.counts.unfit ?? 0));

async function refresh() {
  try {
    const found = await fetchJson(`/experiments?limit=${limit}`);
    update("experiments", table([
      { name: "Began", cell: (row) => when(row.started_at) }, { name: "Verdict", cell: (row) => verdictBadge(row.verdict) },
      { name: "Experiment", wide: true, cell: (row) => link(`${side(row.base)} → ${side(row.head)}`, `/console/experiments/${row.id}`) },
      { name: "Machine", cell: (row) => row.machine || "–" }, { name: "Tests", right: true, cell: (row) => number(row.tests) },
      { name: "Slower", right: true, cell: count("slower") }, { name: "Faster", right: true, cell: count("faster") },
      { name: "Open", right: true, title: "Tests that are undecided, or for which the machine was busy", cell: open },
      { name: "Pairs", right: true, cell: (row) => number(row.pairs) }, { name: "Took", right: true, cell: (row) => seconds((Date.parse(row.ended_at) - Date.parse(row.started_at)) / 1000) },
    ], found.experiments, emptyState("No experiment is stored yet. Measure a commit against another one, and send the result here:", `smartmob ab main HEAD --server ${location.origin} -- tests/`)),
    found.next && limit < MOST ? el("p", {}, el("button", { type: "button", class: "link", onclick: () => { limit = Math.min(MOST, limit + 4 * PAGE); refresh(); } }, "Show older experiments")) : null,
    found.next && limit >= MOST ? el("p", { class: "quiet" }, `Only the newest ${number(MOST)} are shown.`) : null);
  } catch (error) { showError(error); }
}

await refresh();
live(onNews(refresh, 2000));
