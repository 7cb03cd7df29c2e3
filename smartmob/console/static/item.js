// The page of a test: its executions over time, and where its environment changed.

import { fetchJson, showError } from "./api.js";
import { COLOURS, draw, escapeHtml, themeColours, layout, onThemeChange } from "./charts.js";
import { el, fill, link, number, percent, seconds, table, when } from "./dom.js";
import { live } from "./live.js";
import { change, commit, trendTable } from "./trends.js";

const asked = new URLSearchParams(location.search);
let found = { points: [], changes: [] };
let trends = [];
let places = [];

// A change of the level is a line at its first run, with the commit, and a line for each of both levels.
function marks() {
  const color = (trend) => (trend.direction === "more" ? "#d1456b" : "#2f9e6b");
  // A level lasts until the last run of its machine, not until the last one of the chart.
  const end = (trend) => places.find((place) => place.context_h === trend.context_h)?.last ?? found.points.at(-1)?.started_at;
  const shapes = trends.flatMap((trend) => {
    const line = { width: 2, color: color(trend) };
    if (trend.change === "drift") return [{ type: "line", x0: trend.started_at, x1: end(trend), y0: trend.before * 1000, y1: trend.after * 1000, line }];
    const next = trends.filter((other) => other.context_h === trend.context_h && other.started_at > trend.started_at).map((other) => other.started_at).sort()[0] ?? end(trend);
    return [{ type: "line", x0: trend.started_at, x1: trend.started_at, yref: "paper", y0: 0, y1: 1, line: { ...line, dash: "dash" } },
      { type: "line", x0: trend.started_at, x1: next, y0: trend.after * 1000, y1: trend.after * 1000, line }];
  });
  const annotations = trends.map((trend) => ({ x: trend.change === "drift" ? end(trend) : trend.started_at, yref: "paper", y: 0.02, yanchor: "bottom", xanchor: "right", showarrow: false,
    text: escapeHtml(`${change(trend, "s")} ${trend.change === "drift" ? "drift" : commit(trend)}`), font: { size: 11, color: color(trend) } }));
  return { shapes, annotations };
}

// Loads the changes of the level: by the id of the test, or else by its name.
async function loadTrends() {
  const id = asked.get("id"), name = `${asked.get("path") ?? ""}::${asked.get("variant") ?? ""}`;
  const report = await fetchJson(`/api/v1/trends?limit=100&${id ? `item=${encodeURIComponent(id)}` : `name=${encodeURIComponent(name)}`}`);
  trends = report.trends.filter((trend) => id || `${trend.path}::${trend.variant}` === name);
  places = report.places;
  fill("trends", trendTable({ ...report, trends, found: trends.length }, ""));
  if (trends.length) await chart();
}

async function chart() {
  const contexts = [...new Set(found.points.map((point) => point.context_h))];
  await draw("chart", contexts.map((context, index) => {
    const own = found.points.filter((point) => point.context_h === context);
    const color = COLOURS[index % COLOURS.length];
    return { type: "scatter", mode: "markers+lines", name: `context ${escapeHtml(context.slice(0, 8))}`, x: own.map((point) => point.started_at), y: own.map((point) => (point.total_time === null ? null : point.total_time * 1000)),
      marker: { size: 6, color }, line: { width: 1, color }, customdata: own.map((point) => escapeHtml(point.scm_ref?.slice(0, 12) || "–")), hovertemplate: "%{y:.3f} ms, commit %{customdata}" };
  }), layout({ xaxis: { type: "date" }, yaxis: { title: { text: "ms" }, rangemode: "tozero" }, hovermode: "closest",
    shapes: [...marks().shapes, ...found.changes.map((place) => ({ type: "line", x0: place.started_at, x1: place.started_at, yref: "paper", y0: 0, y1: 1, line: { width: 1, dash: "dot", color: themeColours().text } }))],
    annotations: [...marks().annotations, ...found.changes.map((place) => ({ x: place.started_at, yref: "paper", y: 1, yanchor: "bottom", xanchor: "left", showarrow: false, text: escapeHtml(place.what.slice(0, 60)), font: { size: 11 } }))] }));
}

// Loads the test by its id, which comparisons have, or else by its name.
async function load() {
  if (asked.get("id")) return fetchJson(`/api/v1/items/${encodeURIComponent(asked.get("id"))}/series?limit=1000`);
  const variant = asked.get("variant") ?? "", path = asked.get("path");
  const rows = ((await fetchJson(`/api/v1/items/${encodeURIComponent(variant)}/history?limit=1000`))?.history ?? []).filter((row) => !path || row.item_path === path).reverse();
  const changes = rows.filter((row, index) => index && row.context_h !== rows[index - 1].context_h).map((row) => ({ started_at: row.started_at, what: `on ${row.machine_node ?? "another machine"}` }));
  return { points: rows, changes };
}

async function show() {
  found = await load();
  await chart();
  fill("executions", table([
    { name: "Started", cell: (row) => when(row.started_at) }, { name: "Commit", cell: (row) => el("code", {}, row.scm_ref?.slice(0, 12) || "–") },
    { name: "Session", cell: (row) => link(row.session_h.slice(0, 12), `/console/tests/runs/${encodeURIComponent(row.session_h)}`) },
    { name: "Time", right: true, cell: (row) => seconds(row.total_time) }, { name: "CPU", right: true, cell: (row) => percent(row.cpu_usage === null ? null : row.cpu_usage * 100) },
    { name: "Memory", right: true, cell: (row) => (row.mem_usage === null ? "–" : `${number(row.mem_usage)} MB`) },
  ], [...found.points].reverse().slice(0, 200), "There are no executions."));
}

onThemeChange(() => chart().catch(showError));
show().then(loadTrends).catch(showError);
live(() => {});
