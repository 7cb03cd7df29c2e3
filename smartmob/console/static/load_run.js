// The page of a load test: live while it runs, and its results afterwards.

import { runAction, fetchJson, showError, sendJson } from "./api.js";
import { COLOURS, draw, escapeHtml, layout, line, onThemeChange, stacked, themeColours } from "./charts.js";
import { badge, bytes, el, emptyState, link, number, percent, seconds, table, tiles, update, when } from "./dom.js";
import { live, openSocket } from "./live.js";
import { state } from "./states.js";

const id = document.getElementById("main").dataset.id;
const ENDED = ["finished", "failed", "stopped"];
const ALL = "All transactions";
const MOST_POINTS = 1200; // of the live chart; with more, the course is loaded again, which has fewer points
const FEW_ABOVE = 10; // a percentile with fewer values above it is marked
const SHOWN_ERRORS = 20;
const course = { x: [], rate: [], ok: [], errors: [], p50: [], p99: [], failed50: [], failed99: [], codes: [] };
const SHOWN_CODES = 7; // areas of the chart of failures, besides that of all other codes
const OTHER_CODES = "(others)";
let begun = null;
let planned = [];
let warmUp = 0;
let reloading = false;

const at = (offset) => new Date(begun + offset * 1000);

async function chart() {
  const colours = themeColours();
  const axes = stacked([["Per second"], ["Latency, ms"]]), mark = warmUpMark(colours);
  const plan = planned.length ? [line("planned/s", planned.map(([offset]) => at(offset)), planned.map(([, rate]) => rate), { line: { color: "#8a7a5c", dash: "dash" }, hovertemplate: "%{y:,.1f}/s" })] : [];
  await draw("chart", [
    line("achieved/s", course.x, course.rate, { hovertemplate: "%{y:,.0f}/s" }), line("OK/s", course.x, course.ok, { line: { color: "#2f9e6b" }, hovertemplate: "%{y:,.0f}/s" }),
    line("failed/s", course.x, course.errors, { line: { color: "#d1456b" }, hovertemplate: "%{y:,.0f}/s" }), ...plan,
    ...failedLines(),
    line("p50", course.x, course.p50, { yaxis: "y2", line: { color: "#b25bd1" }, hovertemplate: "%{y:.2f} ms" }), line("p99", course.x, course.p99, { yaxis: "y2", line: { color: "#c98a1b" }, hovertemplate: "%{y:.2f} ms" }),
  ], layout({
    xaxis: { type: "date", anchor: "y2" }, margin: { l: 56, r: 16, t: 84, b: 40 }, ...axes, ...mark, annotations: [...axes.annotations, ...mark.annotations],
  }));
  await codesChart(colours);
}

const warmUpMark = (colours) => ({
    shapes: warmUp && begun ? [{ type: "rect", xref: "x", yref: "paper", x0: at(0), x1: at(warmUp), y0: 0, y1: 1, layer: "below", fillcolor: colours.text, opacity: 0.15, line: { width: 0 } }] : [],
    annotations: warmUp && begun ? [{ text: "warm-up", xref: "x", yref: "paper", x: at(0), y: 1, xanchor: "left", yanchor: "top", showarrow: false, font: { size: 11, color: colours.strong } }] : [],
});

// Lines are there only if something failed, and have gaps where nothing did.
const failedLines = () => [["failed p50", course.failed50, "#d1456b"], ["failed p99", course.failed99, "#8d3b5c"]].filter(([, values]) => values.some((value) => value !== null))
  .map(([name, values, color]) => line(name, course.x, values, { yaxis: "y2", line: { color, dash: "dash" }, hovertemplate: "%{y:.2f} ms" }));

// Failures over time, stacked by status code, or by kind of error without one.
async function codesChart(colours) {
  const totals = new Map();
  for (const codes of course.codes) for (const [code, rate] of codes) totals.set(code, (totals.get(code) ?? 0) + rate);
  document.getElementById("codes-panel").hidden = !totals.size;
  if (!totals.size) return;
  const frequent = [...totals].filter(([code]) => code !== OTHER_CODES).sort((one, other) => other[1] - one[1]).slice(0, SHOWN_CODES).map(([code]) => code);
  const rates = (name) => course.codes.map((codes) => (name === OTHER_CODES ? [...codes].reduce((sum, [code, rate]) => sum + (frequent.includes(code) ? 0 : rate), 0) : codes.get(name) ?? 0));
  const names = totals.size > frequent.length ? [...frequent, OTHER_CODES] : frequent;
  await draw("codes", names.map((name, place) => line(escapeHtml(name), course.x, rates(name), { stackgroup: "codes", line: { color: COLOURS[place], width: 1, shape: "hv" }, hovertemplate: "%{y:,.1f}/s" })),
    layout({ xaxis: { type: "date" }, yaxis: { title: { text: "failed per second" }, rangemode: "tozero" }, ...warmUpMark(colours) }));
}

const milliseconds = (value) => (value === null || value === undefined ? null : value * 1000);

function put(offset, rate, errors, ok = [], failed = [], codes = {}, step = 1) {
  const time = at(offset);
  if (course.x.length && time <= course.x.at(-1)) return;
  course.x.push(time);
  course.rate.push(rate);
  course.ok.push(rate - errors);
  course.errors.push(errors);
  course.p50.push(milliseconds(ok[0]));
  course.p99.push(milliseconds(ok[1]));
  course.failed50.push(milliseconds(failed[0]));
  course.failed99.push(milliseconds(failed[1]));
  course.codes.push(new Map(Object.entries(codes).map(([code, count]) => [code, count / step])));
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
    for (; next < point.at; next += found.step) put(next, 0, 0);
    put(point.at, point.rate, point.error_rate, [point.p50, point.p99], [point.failed_p50, point.failed_p99], point.codes, found.step);
    next = point.at + found.step;
  }
  for (; begun && next + found.step <= until; next += found.step) put(next, 0, 0);
}

const few = (samples, share) => Math.floor(samples * (100 - share) / 100 + 1e-9) < FEW_ABOVE;
const failedShare = (count, errors) => (count ? `${number(errors)} (${percent((errors / count) * 100)})` : number(errors));
// A percentile of a number of samples, with a star if few of them lie above it.
const starred = (percentiles, share, samples) => `${seconds(percentiles?.[share] ?? null)}${percentiles?.[share] !== undefined && few(samples, Number(share)) ? "*" : ""}`;

// Returns a row of the table of timers: of a summary, or of a frame, with counts since the start and durations of its second.
function timerRow(name, figures) {
  const running = figures.total !== undefined;
  return { name, count: running ? figures.total : figures.count, errors: running ? figures.total_errors : figures.errors, percentiles: figures.percentiles, max: figures.max,
    samples: running ? figures.count - figures.errors : figures.samples, failed: running ? figures.failed_percentiles : figures.failed?.percentiles, failures: running ? figures.errors : figures.failed?.count ?? 0 };
}
// Names such as "404" would come first in an object, whatever the order in which they were sent.
const byName = ([one], [other]) => (one === ALL ? -1 : other === ALL ? 1 : one < other ? -1 : 1);

function timers(found, more = 0, running = false) {
  const rows = Object.entries(found).sort(byName).map(([name, figures]) => timerRow(name, figures));
  update("timers", table([
    { name: "Timer", wide: true, cell: (row) => row.name }, { name: running ? "Count, total" : "Count", right: true, cell: (row) => number(row.count) },
    { name: "OK", right: true, cell: (row) => number(row.count - row.errors) }, { name: "Failed", right: true, cell: (row) => failedShare(row.count, row.errors) },
    ...["50", "90", "95", "99", "99.9"].map((share) => ({ name: `p${share}`, right: true, cell: (row) => starred(row.percentiles, share, row.samples) })),
    { name: "Max", right: true, cell: (row) => seconds(row.max) },
    ...["50", "99"].map((share) => ({ name: `Failed p${share}`, right: true, cell: (row) => starred(row.failed, share, row.failures) })),
  ], rows, "No transactions yet."),
  more ? el("p", { class: "quiet" }, `and ${number(more)} more; the report and `, link("the table as CSV", `/turret-runs/${id}/timers`), " have all.") : null,
  rows.length ? el("p", { class: "quiet" }, "Durations are those of successful transactions, except for the last two columns. * Fewer than 10 values lie above this percentile: it can vary widely by chance.", running ? " Counts are since the start, durations of the last second." : "") : null);
}

function errors(summary) {
  const box = document.getElementById("error-search");
  const wanted = box.value.trim().toLowerCase();
  const all = [[ALL, summary.error_texts], ...Object.entries(summary.timer_errors).sort(byName)].flatMap(([timer, texts]) => texts.map((error) => ({ timer, ...error })));
  all.sort((one, other) => other.count - one.count);
  const found = all.filter((error) => [error.text, error.timer, error.kind, error.code].some((text) => text.toLowerCase().includes(wanted)));
  const more = found.length - SHOWN_ERRORS + (wanted ? 0 : summary.other_error_texts);
  box.hidden = all.length <= SHOWN_ERRORS;
  update("errors", table([
    { name: "Error", wide: true, cell: (error) => error.text }, { name: "Timer", wide: true, cell: (error) => error.timer }, { name: "Kind", cell: (error) => error.kind || "–" }, { name: "Code", cell: (error) => error.code || "–" },
    { name: "Count", right: true, cell: (error) => number(error.count) }, { name: "Of its timer", right: true, cell: (error) => percent((error.count / Math.max(1, summary.timers[error.timer]?.count ?? 0)) * 100) },
  ], found.slice(0, SHOWN_ERRORS), all.length ? "No error has this text." : "There were no errors."),
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
    { name: "Busiest process", right: true, cell: (turret) => (measured(turret) ? percent(turret.busiest * 100) : "–") }, { name: "Lag", right: true, cell: (turret) => (measured(turret) ? seconds(turret.lag) : "–") },
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

// The charts of the report that this page does not have live, in the colours of the page. The maps of latencies are in the
// report alone: the library draws them with inline styles, which the security policy of the page forbids.
const REPORT_CHARTS = [["curves", "Percentiles"], ["latency-0", "Latency over time"], ["users-0", "over time"], ["cpu-0", "Busiest process of the turrets, % of a core"], ["lag-0", "Lag of the turrets"], ["memory-0", "Memory of the turrets"]];
let reported = null;

async function reportCharts() {
  reported ??= (await fetchJson(`/console/data/load/${id}`)).charts;
  // Turrets have cannons, other tools have users.
  const shown = REPORT_CHARTS.filter(([name]) => reported[name]?.data.length).map(([name, words]) => [name, name === "users-0" ? `${reported[name].data[0].name} ${words}`.replace(/^./, (first) => first.toUpperCase()) : words]);
  document.getElementById("report-panel").hidden = !shown.length;
  update("report-note", "Maps of the latencies over time are in the report.");
  update("report-charts", shown.map(([name, words]) => el("figure", { "data-key": name }, el("figcaption", {}, words), el("div", { id: `report-${name}`, class: "chart", role: "img", "aria-label": words }))));
  for (const [name] of shown) {
    const { data, layout: given } = reported[name];
    const axes = Object.fromEntries(Object.entries(given).filter(([key]) => /^[xy]axis/.test(key)).map(([key, axis]) => [key, { ...axis, color: undefined, gridcolor: themeColours().line, zerolinecolor: themeColours().line, linecolor: themeColours().line }]));
    const { title } = given.yaxis;
    await draw(`report-${name}`, data, layout({ ...axes, yaxis: { ...axes.yaxis, title: undefined }, shapes: given.shapes, margin: { l: 62, r: 50, t: 70, b: 46 },
      annotations: [...(given.annotations ?? []), { text: title?.text ?? "", xref: "paper", yref: "paper", x: 0, y: 1, xanchor: "left", yanchor: "bottom", showarrow: false, font: { size: 12, color: themeColours().strong } }] }));
  }
}

// The fired load: the targets in the configuration, the scripts of the project, and the configuration as it was received.
function configuration(run) {
  const own = run.config.turrets ?? [];
  const targets = [...new Set(own.flatMap((turret) => [turret.url, turret.target, turret.base_url]).concat(run.config.url, run.config.target, run.config.base_url).filter((target) => typeof target === "string" && target))];
  update("configuration", [["Target", targets.join(", ") || "not in the configuration"], ["Project", run.config.name || run.name], ["Scripts", [...new Set(own.map((turret) => turret.script).filter(Boolean))].join(", ")]]
    .filter(([, words]) => words).map(([name, words]) => el("p", {}, el("span", { class: "quiet" }, `${name}: `), words)),
    el("details", {}, el("summary", {}, "The whole configuration"), el("pre", { class: "command" }, JSON.stringify(run.config, null, 2))));
}

async function finished() {
  const [run, summary, found] = await Promise.all([fetchJson(`/turret-runs/${id}`), fetchJson(`/turret-runs/${id}/summary`), fetchJson(`/turret-runs/${id}/course`)]);
  const level = { yes: "good", "with care": "warning", no: "bad" }[summary.trust.verdict] ?? "plain";
  head({ ...run, transactions: summary.transactions, errors: summary.errors }, [["per second", number(summary.rate)], ["started", when(summary.started_at)], ["duration", seconds(summary.duration)],
    summary.warm_up ? ["of that, warm-up (excluded)", seconds(summary.warm_up)] : null,
    ...(summary.received || summary.sent ? ["received", "sent"].map((key) => [summary.warm_up ? `${key}, with the warm-up` : key, bytes(summary[key])]) : []),
    ["can it be trusted?", badge(summary.trust.verdict, level)]]);
  document.getElementById("summary").append(...summary.trust.doubts.map((doubt) => el("p", { class: "quiet" }, badge(doubt.level, doubt.level === "bad" ? "bad" : "warning"), ` ${doubt.what}`)),
    el("ul", { class: "quiet" }, summary.trust.facts.map((fact) => el("li", {}, fact))));
  plan(run.plan);
  configuration(run);
  show(found, summary.duration);
  timers(summary.timers);
  conditions(summary.conditions);
  turrets(summary.turrets, true);
  // A file of another tool has no turrets, and may have no times.
  document.getElementById("turrets-panel").hidden = Boolean(summary.source) && !summary.turrets.length;
  document.getElementById("course-panel").hidden = !found.points.length && !course.x.length;
  document.getElementById("errors-panel").hidden = false;
  errors(summary);
  document.getElementById("error-search").addEventListener("input", () => errors(summary));
  await chart();
  await reportCharts();
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
  put(frame.second, frame.rate, frame.error_rate, [own?.percentiles["50"], own?.percentiles["99"]], [own?.failed_percentiles["50"], own?.failed_percentiles["99"]], frame.codes);
  chart().catch(showError);
}

async function start() {
  const run = await fetchJson(`/turret-runs/${id}`);
  if (ENDED.includes(run.state)) { await finished(); return; }
  plan(run.plan);
  configuration(run);
  show(await fetchJson(`/turret-runs/${id}/course`));
  await chart();
  let known = run.turrets.length;
  openSocket(`/turret-runs/${id}/live`, (text) => {
    const frame = JSON.parse(text);
    head(frame, [["transactions in the last second", number(frame.rate)], ["failed in the last second", number(frame.error_rate)], ["elapsed", seconds(Math.max(0, frame.elapsed))], ["turrets", number(frame.turrets.length)]]);
    timers(frame.timers, frame.other_timers, true);
    conditions(frame.conditions);
    turrets(frame.turrets);
    if (frame.turrets.length !== known) {
      known = frame.turrets.length;
      fetchJson(`/turret-runs/${id}`).then((newer) => { plan(newer.plan); planned = newer.plan.rates; }).catch(showError);
    }
    add(frame);
  }, { showStatus: false, ended: (event) => {
    if (event.code !== 1000) return false; // the connection was lost, and is made again
    setTimeout(() => finished().catch(showError), 500);
    return true;
  } });
}

onThemeChange(() => chart().then(() => (reported ? reportCharts() : null)).catch(showError));
start().catch(showError);
live(() => {});
