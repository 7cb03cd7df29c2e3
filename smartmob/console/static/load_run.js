// The page of a load test: live while it runs, and its results afterwards.

import { runAction, fetchJson, showError, sendJson } from "./api.js";
import { draw, layout, line, onThemeChange } from "./charts.js";
import { badge, el, link, number, percent, seconds, table, tiles, update, when } from "./dom.js";
import { live, openSocket } from "./live.js";
import { state } from "./states.js";

const id = document.getElementById("main").dataset.id;
const ENDED = ["finished", "failed", "stopped"];
const course = { x: [], rate: [], errors: [], p50: [], p99: [] };
let begun = null;

async function chart() {
  await draw("chart", [
    line("per second", course.x, course.rate, { hovertemplate: "%{y:,.0f}/s" }), line("errors per second", course.x, course.errors, { line: { color: "#d1456b" }, hovertemplate: "%{y:,.0f}/s" }),
    line("p50", course.x, course.p50, { yaxis: "y2", line: { color: "#b25bd1" }, hovertemplate: "%{y:.2f} ms" }), line("p99", course.x, course.p99, { yaxis: "y2", line: { color: "#c98a1b" }, hovertemplate: "%{y:.2f} ms" }),
  ], layout({ xaxis: { type: "date", anchor: "y2" }, yaxis: { title: { text: "per second" }, domain: [0.54, 1], rangemode: "tozero" }, yaxis2: { title: { text: "ms" }, domain: [0, 0.46], rangemode: "tozero" } }));
}

function put(at, rate, errors, p50, p99) {
  const time = new Date(begun + at * 1000);
  if (course.x.length && time <= course.x.at(-1)) return;
  course.x.push(time);
  course.rate.push(rate);
  course.errors.push(errors);
  course.p50.push(p50 === null ? null : p50 * 1000);
  course.p99.push(p99 === null ? null : p99 * 1000);
}

function timers(rows) {
  update("timers", table([
    { name: "Timer", wide: true, cell: (row) => row.name }, { name: "Count", right: true, cell: (row) => number(row.count) }, { name: "Errors", right: true, cell: (row) => number(row.errors) },
    ...["50", "90", "95", "99", "99.9"].map((share) => ({ name: `p${share}`, right: true, cell: (row) => seconds(row.percentiles[share] ?? null) })),
    { name: "Max", right: true, cell: (row) => seconds(row.max) },
  ], rows, "No transactions yet."));
}

function conditions(rows) {
  document.getElementById("conditions-panel").hidden = !rows?.length;
  const levels = { passed: "good", failed: "bad", open: "warning" };
  update("conditions", table([
    { name: "Result", cell: (row) => badge(row.aborted ? "failed, stopped the run" : row.state, levels[row.state]) }, { name: "Fails if", cell: (row) => row.condition },
    { name: "Measured", wide: true, cell: (row) => row.text }, { name: "Values", right: true, cell: (row) => number(row.samples) },
  ], rows ?? [], "No conditions."));
}

function turrets(list) {
  update("turrets", table([
    { name: "Turret", wide: true, cell: (turret) => turret.name }, { name: "Status", cell: (turret) => state(turret.alive ? turret.status : "lost") }, { name: "Cannons", right: true, cell: (turret) => turret.cannons ?? "–" },
    { name: "Busiest core", right: true, cell: (turret) => (turret.busiest === null || turret.busiest === undefined ? "–" : percent(turret.busiest * 100)) }, { name: "Lag", right: true, cell: (turret) => seconds(turret.lag ?? null) },
  ], list, "No turrets yet."));
}

function head(run, further) {
  const on = !ENDED.includes(run.state);
  update("summary", el("p", {}, state(run.state), run.reason ? ` ${run.reason}` : ""),
    on ? el("progress", { max: run.run_time, value: Math.min(run.run_time, Math.max(0, run.elapsed ?? 0)), "aria-label": "Elapsed share of the run time" }) : null,
    tiles([["transactions", number(run.transactions)], ["errors", number(run.errors)], ...further]),
    el("div", { class: "buttons" }, link("Report", `/turret-runs/${id}/report`),
      on ? el("button", { class: "danger", type: "button", "data-control": true, onclick: (event) => runAction(event.currentTarget, () => sendJson(`/turret-runs/${id}/stop`)) }, "Stop") : null));
}

async function finished() {
  const [run, summary, found] = await Promise.all([fetchJson(`/turret-runs/${id}`), fetchJson(`/turret-runs/${id}/summary`), fetchJson(`/turret-runs/${id}/course`)]);
  const level = { yes: "good", "with care": "warning", no: "bad" }[summary.trust.verdict];
  head(run, [["per second", number(summary.rate)], ["started", when(summary.started_at)], ["duration", seconds(summary.duration)], ["can it be trusted?", badge(summary.trust.verdict, level)]]);
  document.getElementById("summary").append(...summary.trust.doubts.map((doubt) => el("p", { class: "quiet" }, badge(doubt.level, doubt.level === "bad" ? "bad" : "warning"), ` ${doubt.what}`)));
  timers(Object.entries(summary.timers).map(([name, figures]) => ({ name, ...figures })));
  conditions(summary.conditions);
  turrets(summary.turrets);
  for (const name of Object.keys(course)) course[name] = [];
  if (found.started_at) {
    begun = Date.parse(found.started_at);
    for (const point of found.points) put(point.at, point.rate, point.error_rate, point.p50, point.p99);
  }
  await chart();
}

async function start() {
  const run = await fetchJson(`/turret-runs/${id}`);
  if (ENDED.includes(run.state)) { await finished(); return; }
  const found = await fetchJson(`/turret-runs/${id}/course`);
  begun = found.started_at ? Date.parse(found.started_at) : null;
  for (const point of found.points) put(point.at, point.rate, point.error_rate, point.p50, point.p99);
  await chart();
  openSocket(`/turret-runs/${id}/live`, (text) => {
    const frame = JSON.parse(text);
    head(frame, [["per second", number(frame.rate)], ["errors per second", number(frame.error_rate)], ["elapsed", seconds(Math.max(0, frame.elapsed))], ["turrets", number(frame.turrets.length)]]);
    timers(Object.entries(frame.timers).map(([name, timer]) => ({ name, ...timer, count: timer.total })));
    conditions(frame.conditions);
    turrets(frame.turrets);
    if (frame.state === "running" && frame.elapsed > 0) {
      begun ??= Date.now() - frame.elapsed * 1000;
      const whole = Object.values(frame.timers)[0];
      put(Math.floor(frame.elapsed), frame.rate, frame.error_rate, whole?.percentiles["50"] ?? null, whole?.percentiles["99"] ?? null);
      chart();
    }
  }, { showStatus: false, ended: () => { setTimeout(() => finished().catch(showError), 500); return true; } });
}

onThemeChange(() => chart().catch(showError));
start().catch(showError);
live(() => {});
