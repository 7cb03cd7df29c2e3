// The page of a load test: live while it runs, and its results afterwards.

import { runAction, fetchJson, showError, sendJson } from "./api.js";
import { draw, layout, line, onThemeChange, themeColours } from "./charts.js";
import { badge, el, emptyState, link, number, percent, seconds, table, tiles, update, when } from "./dom.js";
import { live, openSocket } from "./live.js";
import { state } from "./states.js";

const id = document.getElementById("main").dataset.id;
const ENDED = ["finished", "failed", "stopped"];
const ALL = "All transactions";
const MOST_POINTS = 1200; // of the live chart; with more, the course is loaded again, which has fewer points
const FEW_ABOVE = 10; // a percentile with fewer values above it is marked
const SHOWN_ERRORS = 20;
const course = { x: [], rate: [], ok: [], errors: [], p50: [], p99: [] };
let begun = null;
let planned = [];
let warmUp = 0;
let reloading = false;

const at = (offset) => new Date(begun + offset * 1000);

async function chart() {
  const colours = themeColours();
  const plan = planned.length ? [line("planned/s", planned.map(([offset]) => at(offset)), planned.map(([, rate]) => rate), { line: { color: "#8a7a5c", dash: "dash" }, hovertemplate: "%{y:,.1f}/s" })] : [];
  await draw("chart", [
    line("achieved/s", course.x, course.rate, { hovertemplate: "%{y:,.0f}/s" }), line("OK/s", course.x, course.ok, { line: { color: "#2f9e6b" }, hovertemplate: "%{y:,.0f}/s" }),
    line("failed/s", course.x, course.errors, { line: { color: "#d1456b" }, hovertemplate: "%{y:,.0f}/s" }), ...plan,
    line("p50", course.x, course.p50, { yaxis: "y2", line: { color: "#b25bd1" }, hovertemplate: "%{y:.2f} ms" }), line("p99", course.x, course.p99, { yaxis: "y2", line: { color: "#c98a1b" }, hovertemplate: "%{y:.2f} ms" }),
  ], layout({
    xaxis: { type: "date", anchor: "y2" }, yaxis: { title: { text: "per second" }, domain: [0.54, 1], rangemode: "tozero" }, yaxis2: { title: { text: "ms" }, domain: [0, 0.46], rangemode: "tozero" },
    shapes: warmUp && begun ? [{ type: "rect", xref: "x", yref: "paper", x0: at(0), x1: at(warmUp), y0: 0, y1: 1, layer: "below", fillcolor: colours.text, opacity: 0.15, line: { width: 0 } }] : [],
    annotations: warmUp && begun ? [{ text: "warm-up", xref: "x", yref: "paper", x: at(0), y: 1, xanchor: "left", yanchor: "top", showarrow: false, font: { size: 11, color: colours.strong } }] : [],
  }));
}

function put(offset, rate, errors, p50, p99) {
  const time = at(offset);
  if (course.x.length && time <= course.x.at(-1)) return;
  course.x.push(time);
  course.rate.push(rate);
  course.ok.push(rate - errors);
  course.errors.push(errors);
  course.p50.push(p50 === null ? null : p50 * 1000);
  course.p99.push(p99 === null ? null : p99 * 1000);
}

// A second without a transaction has a rate of 0 and no percentiles: a frozen target shows as a gap. `until` is for how
// many seconds the run has fired.
function show(found, until = 0) {
  for (const name of Object.keys(course)) course[name] = [];
  begun = found.started_at ? Date.parse(found.started_at) : null;
  planned = found.planned;
  warmUp = found.warm_up;
  let next = 0;
  for (const point of found.points) {
    for (; next < point.at; next += found.step) put(next, 0, 0, null, null);
    put(point.at, point.rate, point.error_rate, point.p50, point.p99);
    next = point.at + found.step;
  }
  for (; begun && next + found.step <= until; next += found.step) put(next, 0, 0, null, null);
}

const few = (row, share) => Math.floor(row.count * (100 - share) / 100 + 1e-9) < FEW_ABOVE;
const failedShare = (row) => (row.count ? `${number(row.errors)} (${percent((row.errors / row.count) * 100)})` : number(row.errors));
// Names such as "404" would come first in an object, whatever the order in which they were sent.
const byName = ([one], [other]) => (one === ALL ? -1 : other === ALL ? 1 : one < other ? -1 : 1);

function timers(found, more = 0) {
  const rows = Object.entries(found).sort(byName).map(([name, figures]) => ({ name, ...figures }));
  update("timers", table([
    { name: "Timer", wide: true, cell: (row) => row.name }, { name: "Count", right: true, cell: (row) => number(row.total ?? row.count) },
    { name: "OK", right: true, cell: (row) => number(row.count - row.errors) }, { name: "Failed", right: true, cell: failedShare },
    ...["50", "90", "95", "99", "99.9"].map((share) => ({ name: `p${share}`, right: true, cell: (row) => `${seconds(row.percentiles[share] ?? null)}${row.percentiles[share] !== undefined && few(row, Number(share)) ? "*" : ""}` })),
    { name: "Max", right: true, cell: (row) => seconds(row.max) },
  ], rows, "No transactions yet."),
  more ? el("p", { class: "quiet" }, `and ${number(more)} more; the report and `, link("the table as CSV", `/turret-runs/${id}/timers`), " have all.") : null,
  rows.length ? el("p", { class: "quiet" }, "* Fewer than 10 values lie above this percentile: by chance alone it can be quite different.", rows[0].total !== undefined ? " Except for the count, figures are of the last second." : "") : null);
}

function errors(summary) {
  const box = document.getElementById("error-search");
  const wanted = box.value.trim().toLowerCase();
  const found = summary.error_texts.filter((error) => error.text.toLowerCase().includes(wanted));
  const more = found.length - SHOWN_ERRORS + (wanted ? 0 : summary.other_error_texts);
  box.hidden = summary.error_texts.length <= SHOWN_ERRORS;
  update("errors", table([
    { name: "Error", wide: true, cell: (error) => error.text }, { name: "Count", right: true, cell: (error) => number(error.count) },
    { name: "Of all", right: true, cell: (error) => percent((error.count / Math.max(1, summary.transactions)) * 100) },
  ], found.slice(0, SHOWN_ERRORS), summary.errors ? "No error has this text." : "There were none."),
  more > 0 ? el("p", { class: "quiet" }, `and ${number(more)} more different errors; `, link("the table as CSV", `/turret-runs/${id}/errors`), " has all.") : null);
}

// The last status of a turret is from before the end of a run, so a run that is over shows how it ended.
function outcome(turret) {
  if (/^(aborted|killed)$/i.test(turret.status.trim())) return turret.status;
  return turret.lost?.length && turret.lost.at(-1).until === null ? "lost" : "done";
}

// A turret of OCT reports neither.
const measured = (turret) => turret.ours !== false && turret.busiest !== null && turret.busiest !== undefined;

function conditions(rows) {
  document.getElementById("conditions-panel").hidden = !rows?.length;
  const levels = { passed: "good", failed: "bad", open: "warning" };
  update("conditions", table([
    { name: "Result", cell: (row) => badge(row.aborted ? "failed, stopped the run" : row.state, levels[row.state]) }, { name: "Fails if", cell: (row) => row.condition },
    { name: "Measured", wide: true, cell: (row) => row.text }, { name: "Values", right: true, cell: (row) => number(row.samples) },
  ], rows ?? [], "No conditions."));
}

function turrets(list, over = false) {
  update("turrets", table([
    { name: "Turret", wide: true, cell: (turret) => turret.name }, { name: over ? "At the end" : "Status", cell: (turret) => state(over ? outcome(turret) : turret.alive ? turret.status : "lost") }, { name: "Cannons", right: true, cell: (turret) => turret.cannons ?? "–" },
    { name: "Busiest core", right: true, cell: (turret) => (measured(turret) ? percent(turret.busiest * 100) : "–") }, { name: "Lag", right: true, cell: (turret) => (measured(turret) ? seconds(turret.lag) : "–") },
  ], list, "No turrets yet."));
}

function plan(found) {
  update("plan", found ? el("ul", {}, found.words.map((words) => el("li", {}, words))) : emptyState("This run was stored before its plan was kept."));
}

function head(run, further) {
  const on = !ENDED.includes(run.state);
  update("summary", el("p", {}, state(run.state), run.reason ? ` ${run.reason}` : ""),
    on ? el("progress", { max: run.run_time, value: Math.min(run.run_time, Math.max(0, run.elapsed ?? 0)), "aria-label": "Elapsed share of the run time" }) : null,
    tiles([["transactions", number(run.transactions)], ["OK", number(run.transactions - run.errors)], ["failed", number(run.errors)], ...further]),
    el("div", { class: "buttons" }, link(on ? "Preliminary report" : "Report", `/turret-runs/${id}/report`),
      on ? el("button", { class: "danger", type: "button", "data-control": true, onclick: (event) => runAction(event.currentTarget, () => sendJson(`/turret-runs/${id}/stop`)) }, "Stop") : null));
}

async function finished() {
  const [run, summary, found] = await Promise.all([fetchJson(`/turret-runs/${id}`), fetchJson(`/turret-runs/${id}/summary`), fetchJson(`/turret-runs/${id}/course`)]);
  const level = { yes: "good", "with care": "warning", no: "bad" }[summary.trust.verdict] ?? "plain";
  head({ ...run, transactions: summary.transactions, errors: summary.errors }, [["per second", number(summary.rate)], ["started", when(summary.started_at)], ["duration", seconds(summary.duration)],
    summary.warm_up ? ["of it warm-up, left out", seconds(summary.warm_up)] : null, ["can it be trusted?", badge(summary.trust.verdict, level)]]);
  document.getElementById("summary").append(...summary.trust.doubts.map((doubt) => el("p", { class: "quiet" }, badge(doubt.level, doubt.level === "bad" ? "bad" : "warning"), ` ${doubt.what}`)),
    el("ul", { class: "quiet" }, summary.trust.facts.map((fact) => el("li", {}, fact))));
  plan(run.plan);
  show(found, summary.duration);
  timers(summary.timers);
  conditions(summary.conditions);
  turrets(summary.turrets, true);
  document.getElementById("errors-panel").hidden = false;
  errors(summary);
  document.getElementById("error-search").addEventListener("input", () => errors(summary));
  await chart();
}

async function reload() {
  if (reloading) return;
  reloading = true;
  try { show(await fetchJson(`/turret-runs/${id}/course`)); } finally { reloading = false; }
}

function add(frame) {
  if (frame.state !== "running" || frame.second < 0) return;
  begun ??= Date.now() - frame.elapsed * 1000;
  const missed = course.x.length ? frame.second - (course.x.at(-1) - begun) / 1000 : 0;
  // A page that was asleep or without a connection has missed seconds, which the service has.
  if (missed > 30 || course.x.length > MOST_POINTS) reload().then(chart).catch(showError);
  const own = frame.timers[ALL];
  put(frame.second, frame.rate, frame.error_rate, own?.percentiles["50"] ?? null, own?.percentiles["99"] ?? null);
  chart().catch(showError);
}

async function start() {
  const run = await fetchJson(`/turret-runs/${id}`);
  if (ENDED.includes(run.state)) { await finished(); return; }
  plan(run.plan);
  show(await fetchJson(`/turret-runs/${id}/course`));
  await chart();
  let known = run.turrets.length;
  openSocket(`/turret-runs/${id}/live`, (text) => {
    const frame = JSON.parse(text);
    head(frame, [["per second", number(frame.rate)], ["failed per second", number(frame.error_rate)], ["elapsed", seconds(Math.max(0, frame.elapsed))], ["turrets", number(frame.turrets.length)]]);
    timers(frame.timers, frame.other_timers);
    conditions(frame.conditions);
    turrets(frame.turrets);
    if (frame.turrets.length !== known) {
      known = frame.turrets.length;
      fetchJson(`/turret-runs/${id}`).then((newer) => { plan(newer.plan); planned = newer.plan.rates; }).catch(showError);
    }
    add(frame);
  }, { showStatus: false, ended: () => { setTimeout(() => finished().catch(showError), 500); return true; } });
}

onThemeChange(() => chart().catch(showError));
start().catch(showError);
live(() => {});
