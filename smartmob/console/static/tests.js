// The page of test runs: a comparison, the list of runs, and a search for tests.

import { runAction, fetchJson, showError } from "./api.js";
import { badge, el, emptyState, fill, link, number, seconds, table, update, when } from "./dom.js";
import { live, onNews } from "./live.js";
import { trendTable } from "./trends.js";
import { comparison, itemLink, machines } from "./verdicts.js";

let next = null;
let listed = [];

function show() {
  update("runs", table([
    { name: "Started", cell: (run) => (run.clock ? el("span", { title: run.clock }, when(run.started_at), " ", badge("by arrival", "warning")) : when(run.started_at)) },
    { name: "Run", cell: (run) => link(run.id.slice(0, 12), `/console/tests/runs/${encodeURIComponent(run.id)}`) },
    { name: "Commit", cell: (run) => el("code", {}, run.scm_ref.slice(0, 12) || "–") },
    { name: "Machine", cell: (run) => machines(run) },
    { name: "Sessions", right: true, cell: (run) => number(run.sessions.length) },
    { name: "Tests", right: true, cell: (run) => number(run.metrics) },
    { name: "Time", right: true, cell: (run) => seconds(run.total_time) },
    { name: "Tags", wide: true, cell: (run) => run.tags.map((tag) => `${tag.name}=${tag.value}`).join(" ") || "–" },
  ], listed, emptyState("No test run has been measured yet. In the environment of your suite:", `pip install pytest-monitor\npytest --remote-server ${location.origin} --no-db`)),
  next ? el("p", {}, el("button", { class: "second", type: "button", onclick: (event) => runAction(event.currentTarget, older) }, "Older")) : null);
}

async function older() {
  const page = await fetchJson(next);
  listed = [...listed, ...(page?.runs ?? [])];
  next = page?.next_url ?? null;
  show();
}

async function refresh() {
  try {
    const page = await fetchJson("/api/v1/runs/?limit=30");
    listed = page?.runs ?? [];
    next = page?.next_url ?? null;
    show();
  } catch (error) { showError(error); }
}

// The whole history is searched, so this is loaded with the page, and not again with each new run.
fetchJson("/api/v1/trends?limit=30").then((found) => fill("trends", trendTable(found, "")), showError);

const find = document.getElementById("find-form");
find.addEventListener("submit", (event) => {
  event.preventDefault();
  runAction(find.querySelector("button"), async () => {
    const page = await fetchJson(`/api/v1/variants/like/${encodeURIComponent(find.text.value)}/metrics`);
    const found = new Map();
    for (const metric of page?.metrics ?? []) {
      const key = `${metric.item_path}\n${metric.item_variant}`;
      const known = found.get(key) ?? { metric, times: [] };
      known.times.push(metric.total_time);
      found.set(key, known);
    }
    fill("items", table([
      { name: "Test", wide: true, cell: ({ metric }) => itemLink(metric.item_path, metric.item_variant) },
      { name: "Where", wide: true, cell: ({ metric }) => metric.item_path }, { name: "Kind", cell: ({ metric }) => metric.kind },
      { name: "Executions", right: true, cell: ({ times }) => number(times.length) }, { name: "Last", right: true, cell: ({ times }) => seconds(times.at(-1)) },
    ], [...found.values()], "No test has this text in its name."));
  });
});

const compare = document.getElementById("compare-form");

async function showComparison() {
  const fields = Object.fromEntries([...new FormData(compare)].filter(([, given]) => given !== ""));
  history.replaceState(null, "", `?${new URLSearchParams(fields)}`);
  fill("comparison", el("p", { class: "quiet" }, "Comparing…"));
  try {
    fill("comparison", comparison(await fetchJson(`/api/v1/compare?${new URLSearchParams(fields)}`)));
  } catch (error) {
    fill("comparison");
    throw error;
  }
}

compare.addEventListener("submit", (event) => { event.preventDefault(); runAction(compare.querySelector("button"), showComparison); });
const asked = new URLSearchParams(location.search);
for (const [name, given] of asked) if (compare.elements[name]) compare.elements[name].value = given;

await refresh();
if (asked.has("head") || asked.has("base")) runAction(null, showComparison);
live(onNews(refresh));
