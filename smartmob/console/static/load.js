// The page of load tests: the running one, a form to start one, turrets, and the list of load tests.

import { runAction, fetchJson, showError, RequestError, sendJson } from "./api.js";
import { badge, el, emptyState, link, number, percent, seconds, table, tiles, update, when } from "./dom.js";
import { LateValues } from "./late_values.js";
import { live, onNews } from "./live.js";
import { state } from "./states.js";

const form = document.getElementById("fire-form");
const ENDED = ["finished", "failed", "stopped"];
const summaries = new LateValues((id) => `/turret-runs/${id}/summary`);
const TRUST = { yes: "good", "with care": "warning", no: "bad" };
let known = null; // the documents of the page
let drawing = 0;

const summaryOf = (run) => (ENDED.includes(run.state) ? summaries.of(run.id, changed) : null);
const failedShare = (errors, all) => (errors ? `${number(errors)} (${percent((100 * errors) / Math.max(1, all))})` : "0");

function changed() {
  if (!drawing) drawing = requestAnimationFrame(() => { drawing = 0; show(); });
}

// Whether the conditions of a load test held.
function verdict(run) {
  const found = summaryOf(run);
  if (!found?.conditions.length) return null;
  const failed = found.conditions.filter((condition) => condition.state === "failed");
  return el("span", { title: failed.map((condition) => condition.text).join("\n") }, failed.length ? badge(`${failed.length} of ${found.conditions.length} failed`, "bad") : badge("passed", "good"));
}

function trust(run) {
  const found = summaryOf(run)?.trust;
  return found ? el("span", { title: found.doubts.map((doubt) => doubt.what).join("\n") }, badge(found.verdict, TRUST[found.verdict] ?? "plain")) : null;
}

// A form that nothing answers is not offered.
function startForm({ headquarters, turrets }) {
  const works = headquarters !== null && turrets.some((turret) => turret.alive);
  form.hidden = !works;
  update("start-words", works ? null : el("p", { class: "quiet" }, headquarters === null ? "This service is not a headquarters, see below." : "A load test can start here once a turret is connected, see below."));
}

function now(frame) {
  const load = frame.load;
  if (!load) { update("now", el("p", { class: "quiet" }, "No load test is running.")); return; }
  update("now", el("p", {}, link(load.name, `/console/load/${load.id}`), " ", state(load.state)),
    el("progress", { max: load.run_time, value: Math.min(load.run_time, Math.max(0, load.elapsed)), "aria-label": "Elapsed share of the run time" }),
    el("h3", {}, "In the last second"),
    tiles([["transactions", number(load.rate)], ["failed", number(load.error_rate)], ["p50", seconds(load.p50)], ["p99", seconds(load.p99)]]),
    el("h3", {}, "Since the start"),
    tiles([["OK", number(load.transactions - load.errors)], ["failed", failedShare(load.errors, load.transactions)], ["turrets", number(load.turrets)]]),
    el("div", { class: "buttons", "data-control": true }, el("button", { class: "danger", type: "button", onclick: (event) => runAction(event.currentTarget, () => sendJson(`/turret-runs/${load.id}/stop`)) }, "Stop")));
}

// The chart of the newest search is drawn by the service; it is loaded again when the search has changed.
function capacity(searches) {
  const newest = searches[0];
  update("searches", newest ? el("img", { src: `/capacity-searches/${newest.id}/chart?at=${encodeURIComponent(newest.changed_at)}`, alt: `Latency and errors of ${newest.name} by rate`, class: "chart drawing" }) : null, table([
    { name: "Target", wide: true, cell: (search) => link(search.name, search.report) }, { name: "Conditions", cell: (search) => search.settings.conditions.join(", ") },
    { name: "Highest rate", right: true, cell: (search) => (search.result?.held ? `${number(search.result.held)}/s` : "–") }, { name: "Result", cell: (search) => search.result?.words ?? "searching" }, { name: "Limit", cell: (search) => search.result?.limit ?? "" },
    { name: "Created", cell: (search) => when(search.created_at) },
  ], searches, emptyState("There is no capacity search yet. Find the highest rate that meets a condition:", "smartmob fire my-project --find-capacity 'p99<300ms'")));
}

const PAGE = 50;
const MOST_COMPARED = 10; // load tests on the page of a comparison
const MOST = 1000; // runs that the service lists at once
let limit = PAGE;

async function refresh() {
  try {
    const [runs, turrets, searches] = await Promise.all([fetchJson(`/turret-runs?limit=${limit}`), fetchJson("/turrets"), fetchJson("/capacity-searches?limit=20")]);
    known = { runs, turrets, searches };
    show();
  } catch (error) { showError(error); }
}

function show() {
  const { runs, turrets, searches } = known;
  capacity(searches.searches);
  startForm(turrets);
  update("turrets", turrets.headquarters
    ? table([
      { name: "Turret", wide: true, cell: (turret) => turret.name }, { name: "Status", cell: (turret) => state(turret.alive ? turret.status : "lost") },
      { name: "Cannons", right: true, cell: (turret) => turret.cannons ?? "–" }, { name: "Script", cell: (turret) => turret.script }, { name: "Last status", cell: (turret) => when(turret.status_at) },
    ], turrets.turrets, emptyState("No turret is connected. On a machine that is to generate load, run:", "smartmob turret --config-file config.json"))
    : emptyState("This service is not a headquarters. Start it as one:", "smartmob serve --hq"));
  update("runs", table([
    { name: "", cell: (run) => el("input", { type: "checkbox", name: "run", value: run.id, "aria-label": `Compare ${run.name}` }) },
    { name: "Load test", wide: true, cell: (run) => link(run.name, `/console/load/${run.id}`) }, { name: "State", cell: (run) => state(run.state) },
    { name: "Verdict", cell: verdict }, { name: "Trusted?", cell: trust },
    { name: "Created", cell: (run) => when(run.created_at) }, { name: "OK", right: true, cell: (run) => number(run.transactions - run.errors) }, { name: "Failed", right: true, cell: (run) => failedShare(run.errors, run.transactions) },
    { name: "", cell: (run) => link("Report", `/turret-runs/${run.id}/report`) },
  ], runs.runs, emptyState("There is no load test yet. Create a project:", "smartmob new-project my-project")),
  runs.next_url && limit < MOST ? el("p", {}, el("button", { type: "button", class: "link", onclick: () => { limit = Math.min(MOST, limit + PAGE); refresh(); } }, "Show older load tests")) : null,
  runs.next_url && limit >= MOST ? el("p", { class: "quiet" }, `Only the newest ${number(MOST)} are shown.`) : null,
  runs.runs.length > 1 ? el("button", { type: "submit", class: "second" }, "Compare") : null);
}

const compare = document.getElementById("compare-form");
compare.addEventListener("submit", (event) => {
  event.preventDefault();
  const chosen = [...compare.querySelectorAll("input:checked")].map((box) => box.value);
  runAction(null, async () => {
    if (chosen.length < 2 || chosen.length > MOST_COMPARED) throw new RequestError(`Choose two to ${MOST_COMPARED} load tests to compare.`);
    // The list begins with the newest: newer ones are compared with the oldest.
    location.assign(chosen.length === 2 ? `/turret-runs/${chosen[0]}/report?against=${chosen[1]}` : `/console/load-comparison?runs=${chosen.reverse().join(",")}`);
  });
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  runAction(form.querySelector("button"), async () => {
    const file = form.project.files[0];
    const type = file.name.endsWith(".json") ? "application/json" : file.name.endsWith(".tar") ? "application/x-tar" : "application/gzip";
    const run = await fetchJson("/turret-runs", { method: "POST", body: file, headers: { "Content-Type": type } });
    location.assign(`/console/load/${run.id}`);
  });
});

await refresh();
const news = onNews(refresh, 2000);
let turns = 0;
live((frame) => { now(frame); news(frame); if (++turns % 10 === 0) refresh(); });
