// The page of a test: its executions over time or by run, with the verdict of each, and where its environment changed.

import { fetchJson, showError } from "./api.js";
import { COLOURS, draw, escapeHtml, themeColours, layout, onThemeChange } from "./charts.js";
import { el, fill, link, number, percent, seconds, table, when } from "./dom.js";
import { live } from "./live.js";
import { verdictOf } from "./run_verdicts.js";
import { verdict } from "./states.js";
import { change, commit, trendTable } from "./trends.js";
import { caseName } from "./verdicts.js";

const MOST_VERDICTS = 40; // latest sessions whose verdict is loaded
const MOST_LABELS = 10;
// The resources, with the factor from the stored unit to the shown one.
const MEASURES = { total_time: { words: "Time", unit: "ms", factor: 1000, digits: 3 }, cpu_usage: { words: "CPU", unit: "%", factor: 100, digits: 1 }, mem_usage: { words: "Memory", unit: "MB", factor: 1, digits: 1 } };
const VERDICT_COLOURS = { regression: "#d1456b", suspect: "#c98a1b", improvement: "#2f9e6b" };

const asked = new URLSearchParams(location.search);
let found = { points: [], changes: [] };
let trends = [];
let places = [];
let measure = "total_time";
let byRun = false;
let drawing = 0;

const xOf = (time) => {
  if (!byRun) return time;
  const place = found.points.findIndex((point) => point.started_at >= time);
  return place < 0 ? found.points.length - 1 : place;
};

// The verdict on this test in the run of an execution; null while it is not known.
function judged(point) {
  const run = verdictOf(point.session_h, redraw);
  if (!run) return null;
  const id = asked.get("id"), path = asked.get("path");
  const name = point.item_fs_loc === undefined ? (asked.get("variant") ?? "") : caseName(point);
  return run.items.find((item) => (id && item.item_id === id) || ((item.variant || item.item) === name && (!path || item.path === path))) ?? { verdict: "noise", word: run.words.noise };
}

const latest = () => new Set(found.points.slice(-MOST_VERDICTS));

function redraw() {
  if (!drawing) drawing = setTimeout(() => { drawing = 0; chart().then(list).catch(showError); }, 150);
}

// A change of the level is a line at its first run, with the commit, and a line for each of both levels.
function marks() {
  const { factor } = MEASURES[measure];
  const color = (trend) => (trend.direction === "more" ? "#d1456b" : "#2f9e6b");
  // A level lasts until the last run of its machine, not until the last one of the chart.
  const end = (trend) => places.find((place) => place.context_h === trend.context_h)?.last ?? found.points.at(-1)?.started_at;
  const shapes = trends.flatMap((trend) => {
    const line = { width: 2, color: color(trend) };
    if (trend.change === "drift") return [{ type: "line", x0: xOf(trend.started_at), x1: xOf(end(trend)), y0: trend.before * factor, y1: trend.after * factor, line }];
    const next = trends.filter((other) => other.context_h === trend.context_h && other.started_at > trend.started_at).map((other) => other.started_at).sort()[0] ?? end(trend);
    return [{ type: "line", x0: xOf(trend.started_at), x1: xOf(trend.started_at), yref: "paper", y0: 0, y1: 1, line: { ...line, dash: "dash" } },
      { type: "line", x0: xOf(trend.started_at), x1: xOf(next), y0: trend.after * factor, y1: trend.after * factor, line }];
  });
  const annotations = trends.map((trend) => ({ x: xOf(trend.change === "drift" ? end(trend) : trend.started_at), yref: "paper", y: 0.02, yanchor: "bottom", xanchor: "right", showarrow: false,
    text: escapeHtml(`${change(trend, trend.unit)} ${trend.change === "drift" ? "drift" : commit(trend)}`), font: { size: 11, color: color(trend) } }));
  return { shapes, annotations };
}

// Loads the changes of the level: by the id of the test, or else by its name.
async function loadTrends() {
  const id = asked.get("id"), name = `${asked.get("path") ?? ""}::${asked.get("variant") ?? ""}`;
  const report = await fetchJson(`/api/v1/trends?limit=100&resource=${measure}&${id ? `item=${encodeURIComponent(id)}` : `name=${encodeURIComponent(name)}`}`);
  trends = report.trends.filter((trend) => id || `${trend.path}::${trend.variant}` === name).map((trend) => ({ ...trend, unit: report.unit }));
  places = report.places;
  const explanation = report.explanation === "No test changed its level." ? "Its level did not change." : report.explanation;
  fill("trends", trendTable({ ...report, explanation, trends, found: trends.length }, ""));
  await chart();
}

function traces() {
  const { unit, factor, digits } = MEASURES[measure];
  const newest = latest();
  const contexts = [...new Set(found.points.map((point) => point.context_h))];
  return contexts.map((context, index) => {
    const own = found.points.map((point, place) => [point, place]).filter(([point]) => point.context_h === context);
    const color = COLOURS[index % COLOURS.length];
    const verdicts = own.map(([point]) => (newest.has(point) ? judged(point) : null));
    return { type: "scatter", mode: "markers+lines", name: escapeHtml(own[0][0].machine && contexts.length === 1 ? own[0][0].machine : `context ${context.slice(0, 8)}`), x: own.map(([point, place]) => (byRun ? place : point.started_at)),
      y: own.map(([point]) => (point[measure] === null ? null : point[measure] * factor)),
      marker: { size: verdicts.map((one) => (VERDICT_COLOURS[one?.verdict] ? 10 : 6)), color: verdicts.map((one) => VERDICT_COLOURS[one?.verdict] ?? color), symbol: verdicts.map((one) => ({ regression: "triangle-up", improvement: "triangle-down", suspect: "diamond" }[one?.verdict] ?? "circle")) },
      line: { width: 1, color }, customdata: own.map(([point], place) => [escapeHtml(point.scm_ref?.slice(0, 12) || "–"), verdicts[place] ? `, ${escapeHtml(verdicts[place].word)}` : ""]),
      hovertemplate: `%{y:,.${digits}f} ${unit}, commit %{customdata[0]}%{customdata[1]}<extra></extra>` };
  });
}

// By run, an execution has the commit as its label; in a long history only some of them fit.
function xAxis() {
  if (!byRun) return { type: "date" };
  const step = Math.max(1, Math.ceil(found.points.length / (document.getElementById("chart").clientWidth < 600 ? MOST_LABELS / 2 : MOST_LABELS)));
  const places = found.points.map((_, place) => place).filter((place) => place % step === 0);
  return { type: "linear", tickmode: "array", tickvals: places, ticktext: places.map((place) => escapeHtml(found.points[place].scm_ref?.slice(0, 8) || `${place + 1}`)), tickangle: -35 };
}

async function chart() {
  const { unit } = MEASURES[measure];
  const marked = marks();
  await draw("chart", traces(), layout({ xaxis: xAxis(), yaxis: { title: { text: unit }, rangemode: "tozero" }, hovermode: "closest",
    shapes: [...marked.shapes, ...found.changes.map((place) => ({ type: "line", x0: xOf(place.started_at), x1: xOf(place.started_at), yref: "paper", y0: 0, y1: 1, line: { width: 1, dash: "dot", color: themeColours().text } }))],
    annotations: [...marked.annotations, ...found.changes.map((place) => ({ x: xOf(place.started_at), yref: "paper", y: 1, yanchor: "bottom", xanchor: "left", showarrow: false, text: escapeHtml(place.what.slice(0, 60)), font: { size: 11 } }))] }));
}

// Loads the test by its id, which comparisons have, or else by its name.
async function load() {
  if (asked.get("id")) return fetchJson(`/api/v1/items/${encodeURIComponent(asked.get("id"))}/series?limit=1000`);
  const variant = asked.get("variant") ?? "", path = asked.get("path");
  const rows = ((await fetchJson(`/api/v1/items/${encodeURIComponent(variant)}/history?limit=1000`))?.history ?? []).filter((row) => !path || row.item_path === path).reverse();
  const changes = rows.filter((row, index) => index && row.context_h !== rows[index - 1].context_h).map((row) => ({ started_at: row.started_at, what: `on ${row.machine}` }));
  return { points: rows, changes };
}

function list() {
  const newest = latest();
  fill("executions", table([
    { name: "Started", cell: (row) => when(row.started_at) }, { name: "Commit", cell: (row) => el("code", {}, row.scm_ref?.slice(0, 12) || "–") },
    { name: "Session", cell: (row) => link(row.session_h.slice(0, 12), `/console/tests/runs/${encodeURIComponent(row.session_h)}`) },
    { name: "Verdict", cell: (row) => { const found = newest.has(row) ? judged(row) : null; return found ? verdict(found) : null; } },
    { name: "Time", right: true, cell: (row) => seconds(row.total_time) }, { name: "CPU", right: true, cell: (row) => percent(row.cpu_usage === null ? null : row.cpu_usage * 100) },
    { name: "Memory", right: true, cell: (row) => (row.mem_usage === null ? "–" : `${number(row.mem_usage)} MB`) },
  ], [...found.points].reverse().slice(0, 200), "There are no executions."));
}

// Buttons of which one is pressed; `choose` gets the value of the new one.
function choices(label, all, chosen, choose) {
  const group = el("div", { class: "row", role: "group", "aria-label": label }, all.map(([value, words]) => el("button", { type: "button", class: "second", "aria-pressed": String(value === chosen), onclick: (event) => {
    for (const other of group.children) other.setAttribute("aria-pressed", String(other === event.currentTarget));
    choose(value);
  } }, words)));
  return group;
}

async function show() {
  found = await load();
  fill("tools",
    choices("Measure", Object.entries(MEASURES).map(([name, { words }]) => [name, words]), measure, (name) => { measure = name; trends = []; loadTrends().catch(showError); }),
    choices("Horizontal axis", [[false, "By time"], [true, "By run"]], byRun, (chosen) => { byRun = chosen; chart().catch(showError); }));
  await chart();
  list();
}

onThemeChange(() => chart().catch(showError));
show().then(loadTrends).catch(showError);
live(() => {});
