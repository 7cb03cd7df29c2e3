// The page of test runs: a comparison, the list of runs, and a search for tests.

import { runAction, fetchJson, RequestError, showError } from "./api.js";
import { badge, el, emptyState, fill, link, number, seconds, table, update, when } from "./dom.js";
import { live, onNews } from "./live.js";
import { trendTable } from "./trends.js";
import { Recent, recentOf, suggestions } from "./recent.js";
import { forgetVerdicts, verdictOf } from "./run_verdicts.js";
import { level, verdict } from "./states.js";
import { comparison, itemLink, machines } from "./verdicts.js";

const SUGGESTED_RUNS = 30;
let next = null;
let listed = [];
let recent = new Recent(); // the values of the newest run and of those before it
let drawing = 0;

// A verdict in the list, with the number of tests that changed.
function judged(run) {
  const found = run.metrics ? verdictOf(run.id, changed) : null;
  if (!found) return null;
  const counts = ["regression", "suspect", "improvement"].filter((name) => found.counts[name]).map((name) => badge(`${number(found.counts[name])}`, level(name)));
  return el("span", { title: found.explanation }, verdict(found), " ", counts.length > 1 ? counts.flatMap((count) => [count, " "]) : null);
}

function changed() {
  if (!drawing) drawing = requestAnimationFrame(() => { drawing = 0; show(); });
}

function show() {
  update("runs", table([
    { name: "Compare", unsorted: true, cell: (run) => el("input", { type: "checkbox", name: "ticked", value: run.id, "aria-label": `Compare the run ${run.id.slice(0, 12)}` }) },
    { name: "Started", cell: (run) => (run.clock ? el("span", { title: run.clock }, when(run.started_at), " ", badge("by arrival", "warning")) : when(run.started_at)) },
    { name: "Run", cell: (run) => link(run.id.slice(0, 12), `/console/tests/runs/${encodeURIComponent(run.id)}`) },
    { name: "Commit", cell: (run) => el("code", {}, run.scm_ref.slice(0, 12) || "–") },
    { name: "Verdict", cell: judged },
    { name: "Machine", cell: (run) => machines(run) },
    { name: "Sessions", right: true, cell: (run) => number(run.sessions.length) },
    { name: "Tests", right: true, cell: (run) => number(run.metrics) },
    { name: "Time", right: true, cell: (run) => seconds(run.total_time) },
    { name: "Tags", wide: true, cell: (run) => run.tags.map((tag) => `${tag.name}=${tag.value}`).join(" ") || "–" },
  ], listed, emptyState("No test run has been measured yet. In the environment of your suite:", `pip install pytest-monitor\npytest --remote-server ${location.origin} --no-db`)),
  el("p", { class: "buttons start" },
    listed.length > 1 ? el("button", { class: "second", type: "button", onclick: (event) => runAction(event.currentTarget, compareTicked) }, "Compare the two selected") : null,
    next ? el("button", { class: "second", type: "button", onclick: (event) => runAction(event.currentTarget, older) }, "Older") : null));
}

// The older of the two ticked runs is the base, whichever was ticked first.
async function compareTicked() {
  const ticked = [...document.querySelectorAll("#runs input:checked")].map((box) => listed.find((run) => run.id === box.value));
  if (ticked.length !== 2) throw new RequestError("Select two runs to compare.");
  const [base, head] = ticked.sort((one, other) => Date.parse(one.started_at) - Date.parse(other.started_at));
  compare.base.value = base.id;
  compare.head.value = head.id;
  await showComparison();
  document.getElementById("compare-title").scrollIntoView();
}

function suggest() {
  const runs = listed.slice(0, SUGGESTED_RUNS);
  const places = runs.map((run, index) => [index ? `latest~${index}` : "latest", `${new Date(run.started_at).toLocaleString("en-GB")} ${run.scm_ref.slice(0, 12)}`]);
  const commits = new Map(runs.filter((run) => run.scm_ref).map((run) => [run.scm_ref, `commit, ${new Date(run.started_at).toLocaleString("en-GB")}`]));
  const tests = [...recent.tests.values()].map((test) => [test.variant || test.item, test.path]);
  document.body.append(suggestions("known-runs", [...places, ...commits]), suggestions("known-tests", tests));
}

async function loadRecent() {
  if (!listed.length) return;
  recent = await recentOf(listed[0].id);
  suggest();
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
    forgetVerdicts();
    show();
    suggest();
    await loadRecent();
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
      ...recent.columns().map((column) => ({ ...column, cell: ({ metric }) => column.cell(metric) })),
    ], [...found.values()], "No test name contains this text."));
  });
});

const compare = document.getElementById("compare-form");

async function showComparison() {
  const fields = Object.fromEntries([...new FormData(compare)].filter(([, given]) => given !== ""));
  history.replaceState(null, "", `?${new URLSearchParams(fields)}`);
  fill("comparison", el("p", { class: "quiet" }, "Comparing…"));
  try {
    const found = await fetchJson(`/api/v1/compare?${new URLSearchParams(fields)}`);
    fill("comparison", comparison(found, await recentOf(found.head.sessions[0], found.resource).catch(() => new Recent())));
  } catch (error) {
    fill("comparison");
    throw error;
  }
}

compare.addEventListener("submit", (event) => { event.preventDefault(); runAction(compare.querySelector("button"), showComparison); });
const asked = new URLSearchParams(location.search);
for (const [name, given] of asked) if (compare.elements[name]) compare.elements[name].value = given;

await refresh();
if (asked.has("head") || asked.has("base")) runAction(compare.querySelector("button"), showComparison);
live(onNews(refresh));
