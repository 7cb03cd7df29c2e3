// One load test: live while it is on, and its figures afterwards.

import { act, ask, complain, send } from "./api.js";
import { draw, layout, line, redraw } from "./charts.js";
import { badge, el, link, number, percent, seconds, table, tiles, update, when } from "./dom.js";
import { live, watch } from "./live.js";
import { state } from "./states.js";

const id = document.getElementById("main").dataset.id;
const ENDED = ["finished", "failed", "stopped"];
const course = { x: [], rate: [], errors: [], p50: [], p99: [] };
let begun = null;

async function chart() {
  await draw("chart", [
    line("a second", course.x, course.rate, { hovertemplate: "%{y:,.0f}/s" }), line("errors a second", course.x, course.errors, { line: { color: "#d1456b" }, hovertemplate: "%{y:,.0f}/s" }),
    line("p50", course.x, course.p50, { yaxis: "y2", line: { color: "#b25bd1" }, hovertemplate: "%{y:.2f} ms" }), line("p99", course.x, course.p99, { yaxis: "y2", line: { color: "#c98a1b" }, hovertemplate: "%{y:.2f} ms" }),
  ], layout({ xaxis: { type: "date", anchor: "y2" }, yaxis: { title: { text: "a second" }, domain: [0.54, 1], rangemode: "tozero" }, yaxis2: { title: { text: "ms" }, domain: [0, 0.46], rangemode: "tozero" } }));
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
    { name: "Most", right: true, cell: (row) => seconds(row.max) },
  ], rows, "No transaction has come yet."));
}

function turrets(list) {
  update("turrets", table([
    { name: "Turret", wide: true, cell: (turret) => turret.name }, { name: "Status", cell: (turret) => state(turret.alive ? turret.status : "lost") }, { name: "Cannons", right: true, cell: (turret) => turret.cannons ?? "–" },
    { name: "Busiest core", right: true, cell: (turret) => (turret.busiest === null || turret.busiest === undefined ? "–" : percent(turret.busiest * 100)) }, { name: "Lag", right: true, cell: (turret) => seconds(turret.lag ?? null) },
  ], list, "No turret has come yet."));
}

function head(run, further) {
  const on = !ENDED.includes(run.state);
  update("summary", el("p", {}, state(run.state), run.reason ? ` ${run.reason}` : ""),
    on ? el("progress", { max: run.run_time, value: Math.min(run.run_time, Math.max(0, run.elapsed ?? 0)), "aria-label": "How much of its time is over" }) : null,
    tiles([["transactions", number(run.transactions)], ["errors", number(run.errors)], ...further]),
    el("div", { class: "buttons" }, link("Report", `/turret-runs/${id}/report`),
      on ? el("button", { class: "danger", type: "button", "data-control": true, onclick: (event) => act(event.currentTarget, () => send(`/turret-runs/${id}/stop`)) }, "Stop it") : null));
}

async function finished() {
  const [run, summary, found] = await Promise.all([ask(`/turret-runs/${id}`), ask(`/turret-runs/${id}/summary`), ask(`/turret-runs/${id}/course`)]);
  const level = { yes: "good", "with care": "warning", no: "bad" }[summary.trust.verdict];
  head(run, [["a second", number(summary.rate)], ["began", when(summary.started_at)], ["took", seconds(summary.duration)], ["can it be trusted?", badge(summary.trust.verdict, level)]]);
  document.getElementById("summary").append(...summary.trust.doubts.map((doubt) => el("p", { class: "quiet" }, badge(doubt.level, doubt.level === "bad" ? "bad" : "warning"), ` ${doubt.what}`)));
  timers(Object.entries(summary.timers).map(([name, figures]) => ({ name, ...figures })));
  turrets(summary.turrets);
  for (const name of Object.keys(course)) course[name] = [];
  if (found.started_at) {
    begun = Date.parse(found.started_at);
    for (const point of found.points) put(point.at, point.rate, point.error_rate, point.p50, point.p99);
  }
  await chart();
}

async function start() {
  const run = await ask(`/turret-runs/${id}`);
  if (ENDED.includes(run.state)) { await finished(); return; }
  const found = await ask(`/turret-runs/${id}/course`);
  begun = found.started_at ? Date.parse(found.started_at) : null;
  for (const point of found.points) put(point.at, point.rate, point.error_rate, point.p50, point.p99);
  await chart();
  watch(`/turret-runs/${id}/live`, (text) => {
    const frame = JSON.parse(text);
    head(frame, [["a second", number(frame.rate)], ["errors a second", number(frame.error_rate)], ["so far", seconds(Math.max(0, frame.elapsed))], ["turrets", number(frame.turrets.length)]]);
    timers(Object.entries(frame.timers).map(([name, timer]) => ({ name, ...timer, count: timer.total })));
    turrets(frame.turrets);
    if (frame.state === "running" && frame.elapsed > 0) {
      begun ??= Date.now() - frame.elapsed * 1000;
      const whole = Object.values(frame.timers)[0];
      put(Math.floor(frame.elapsed), frame.rate, frame.error_rate, whole?.percentiles["50"] ?? null, whole?.percentiles["99"] ?? null);
      chart();
    }
  }, { status: false, ended: () => { setTimeout(() => finished().catch(complain), 500); return true; } });
}

redraw(() => chart().catch(complain));
start().catch(complain);
live(() => {});
