// The timeline: everything on one time axis. Zoom and pan load the data again at the right resolution, and the address
// reproduces the view.

import { runAction, fetchJson, showError, sendJson } from "./api.js";
import { COLOURS, dates, draw, escapeHtml, themeColours, layout, line, onThemeChange, spanButtons } from "./charts.js";
import { changes } from "./changes.js";
import { bytes, el, fill, link, number, percent, seconds, table, update, when } from "./dom.js";
import { live, onNews } from "./live.js";

const LEVELS = { good: "#2f9e6b", warning: "#c98a1b", bad: "#d1456b", plain: "#3d6fe0" };
const given = new URLSearchParams(location.search);
const state = { end: Number(given.get("to")) || null, span: 0, pinned: null, document: null, requests: 0 };
state.span = given.get("from") && state.end ? state.end - Number(given.get("from")) : Number(given.get("span")) || 3600;

const edges = () => { const end = state.end ?? Date.now() / 1000; return [end - state.span, end]; };

function remember() {
  const [start, end] = edges();
  const query = state.end === null ? `span=${Math.round(state.span)}` : `from=${start.toFixed(3)}&to=${end.toFixed(3)}`;
  history.replaceState(null, "", `?${query}`);
}

async function load() {
  const number = ++state.requests;
  const [start, end] = edges();
  const width = document.getElementById("chart").clientWidth;
  try {
    const document = await fetchJson(`/console/data/timeline?from=${start}&to=${end}&points=${Math.max(60, Math.min(1200, Math.round(width / 3)))}`);
    if (number !== state.requests) return;
    state.document = document;
    document.courses.hosts.sort((one, other) => one.host.localeCompare(other.host, undefined, { numeric: true }));
    remember();
    await show();
  } catch (error) { showError(error); }
}

function lanes(document) {
  const names = [...new Set(document.spans.map((span) => span.lane))];
  const order = (name) => ["test runs", "tests", "load", "jobs"].indexOf(name) + 1 || 9;
  return names.sort((one, other) => order(one) - order(other) || one.localeCompare(other));
}

// One trace for each level: bars whose base is their start.
function bars(document, names, end) {
  const traces = [];
  for (const [level, color] of Object.entries(LEVELS)) {
    const found = document.spans.filter((span) => span.level === level);
    if (!found.length) continue;
    traces.push({
      type: "bar", orientation: "h", name: level, showlegend: false, yaxis: "y4", width: 0.7, marker: { color, opacity: 0.85, line: { width: 0 } },
      base: found.map((span) => new Date(span.start)), y: found.map((span) => names.indexOf(span.lane)),
      x: found.map((span) => Math.max((span.end ? Date.parse(span.end) : end * 1000) - Date.parse(span.start), state.span * 1.5)),
      customdata: found.map((span) => [escapeHtml(span.label), escapeHtml(span.detail), span.href]), hovertemplate: "<b>%{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
      text: found.map((span) => escapeHtml(span.label)), textposition: "inside", insidetextanchor: "start", constraintext: "inside", textangle: 0, textfont: { size: 11, color: "#fff" }, cliponaxis: true,
    });
  }
  return traces;
}

async function show() {
  const document_ = state.document;
  const [start, end] = [Date.parse(document_.from) / 1000, Date.parse(document_.to) / 1000];
  const colours = themeColours();
  const x = dates(document_.courses.times);
  const names = lanes(document_);
  const traces = document_.courses.hosts.flatMap((host, index) => {
    const color = COLOURS[index % COLOURS.length];
    const shared = { line: { color }, legendgroup: host.host };
    return [
      line(escapeHtml(host.host), x, host.cpu, { ...shared, hovertemplate: "%{y:.1f} %" }),
      line(escapeHtml(host.host), x, host.mem, { ...shared, showlegend: false, yaxis: "y2", hovertemplate: "%{y:,.0f} MB" }),
      line(escapeHtml(host.host), x, host.received.map((value, place) => (value === null ? null : value + (host.sent[place] ?? 0))), { ...shared, showlegend: false, yaxis: "y3", hovertemplate: "%{y:.3s}B/s" }),
    ];
  });
  for (const course of document_.loads) {
    const times = dates(course.times);
    traces.push(
      line(`${escapeHtml(course.name)}: per second`, times, course.rate, { yaxis: "y5", line: { color: "#2f9e6b" }, hovertemplate: "%{y:,.0f}/s" }),
      line(`${escapeHtml(course.name)}: p50`, times, course.p50.map((value) => (value === null ? null : value * 1000)), { yaxis: "y6", line: { color: "#b25bd1" }, hovertemplate: "%{y:.2f} ms" }),
      line(`${escapeHtml(course.name)}: p99`, times, course.p99.map((value) => (value === null ? null : value * 1000)), { yaxis: "y6", line: { color: "#d1456b" }, hovertemplate: "%{y:.2f} ms" }));
  }
  traces.push(...bars(document_, names, end));
  const loads = document_.loads.length > 0;
  const narrow = document.getElementById("chart").clientWidth < 600;
  const longest = narrow ? 12 : 22;
  const share = Math.min(0.45, 0.05 + names.length * 0.035);
  const rest = 1 - share - 0.04;
  const part = (index, count) => { const each = rest / count; return [1 - (index + 1) * each + 0.025, 1 - index * each]; };
  const count = loads ? 5 : 3;
  const shown = names.map((name) => (name.length > longest ? `${name.slice(0, longest - 1)}…` : name));
  const wanted = layout({
    margin: { l: Math.max(56, 14 + 7 * Math.max(0, ...shown.map((name) => name.length))), r: 16, t: 8, b: 36 },
    xaxis: { type: "date", tickangle: 0, nticks: narrow ? 4 : 0, range: [new Date(start * 1000), new Date(end * 1000)], anchor: "y4", showspikes: true, spikemode: "across", spikethickness: 1, spikecolor: colours.text, spikedash: "dot" },
    yaxis: { title: { text: "CPU %" }, domain: part(0, count), rangemode: "tozero", fixedrange: true },
    yaxis2: { title: { text: "memory MB" }, domain: part(1, count), rangemode: "tozero", fixedrange: true },
    yaxis3: { title: { text: "network/s" }, domain: part(2, count), rangemode: "tozero", tickformat: ".2s", fixedrange: true },
    yaxis4: { domain: [0, share], fixedrange: true, tickmode: "array", tickvals: names.map((_, index) => index), ticktext: shown.map(escapeHtml), range: [names.length - 0.5, -0.5], showgrid: false, zeroline: false },
    barmode: "overlay", dragmode: "pan", hoverdistance: 30,
    shapes: document_.marks.map((mark) => ({ type: "line", x0: mark.at, x1: mark.at, yref: "paper", y0: 0, y1: 1, line: { color: colours.strong, width: 1, dash: "dash" } })),
    annotations: document_.marks.map((mark) => ({ x: mark.at, yref: "paper", y: 1, yanchor: "bottom", xanchor: Date.parse(mark.at) / 1000 > start + (end - start) * 0.8 ? "right" : "left", showarrow: false, text: escapeHtml(mark.text.slice(0, 40)), font: { size: 11, color: colours.strong } })),
  });
  if (loads) {
    const colour = { fixedrange: true, rangemode: "tozero" };
    wanted.yaxis5 = { ...layout({ yaxis: colour }).yaxis, title: { text: "transactions/s" }, domain: part(3, count) };
    wanted.yaxis6 = { ...layout({ yaxis: colour }).yaxis, title: { text: "ms" }, domain: part(4, count) };
  }
  const node = await draw("chart", traces, wanted);
  listen(node);
  fill("partial", document_.partial.length ? `Only the newest items are shown of: ${document_.partial.join(", ")}. Zoom in to see all.` : "");
  update("marks", table([
    { name: "At", cell: (mark) => when(mark.at) }, { name: "Mark", wide: true, cell: (mark) => mark.text }, { name: "Author", cell: (mark) => mark.author || "–" },
    { name: "", right: true, control: true, cell: (mark) => el("button", { class: "link", type: "button", "data-control": true, onclick: (event) => runAction(event.currentTarget, async () => { await sendJson(`/marks/${mark.id}`, undefined, "DELETE"); await load(); }) }, "Delete") },
  ], document_.marks, "No marks in this span."));
  if (state.pinned !== null) showMoment(state.pinned);
}

let listening = false;
function listen(node) {
  if (listening) return;
  listening = true;
  node.on("plotly_relayout", (event) => {
    const start = event["xaxis.range[0]"], end = event["xaxis.range[1]"];
    if (start === undefined || end === undefined) return;
    move(Date.parse(String(start).replace(" ", "T")) / 1000, Date.parse(String(end).replace(" ", "T")) / 1000);
  });
  node.on("plotly_click", (event) => {
    const point = event.points[0];
    if (point?.customdata?.[2]) location.assign(point.customdata[2]);
  });
  node.addEventListener("mousemove", (event) => { const moment = under(node, event); if (moment !== null && state.pinned === null) showMoment(moment); });
  node.addEventListener("click", (event) => { const moment = under(node, event); state.pinned = state.pinned === null ? moment : null; if (moment !== null) showMoment(moment); });
  node.addEventListener("wheel", (event) => {
    const moment = under(node, event);
    if (moment === null) return;
    event.preventDefault();
    const factor = event.deltaY > 0 ? 1.4 : 1 / 1.4;
    const [start, end] = edges();
    move(moment - (moment - start) * factor, moment + (end - moment) * factor);
  }, { passive: false });
}

let waiting = 0;
function move(start, end) {
  state.span = Math.max(1, end - start);
  state.end = end;
  for (const button of document.querySelectorAll("#tools [aria-pressed]")) button.setAttribute("aria-pressed", "false");
  clearTimeout(waiting);
  waiting = setTimeout(load, 150);
}

function under(node, event) {
  const size = node._fullLayout?._size;
  if (!size) return null;
  const share = (event.clientX - node.getBoundingClientRect().left - size.l) / size.w;
  if (share < 0 || share > 1) return null;
  const [start, end] = edges();
  return start + share * (end - start);
}

// Shows one point in time: the values of all curves, and everything that was active.
function showMoment(moment) {
  const found = state.document;
  const { times, width } = found.courses;
  let index = times.length - 1;
  while (index > 0 && times[index] > moment) index--;
  const near = times.length && Math.abs(times[index] - moment) <= Math.max(2 * width, 5);
  const at = moment * 1000;
  const on = found.spans.filter((span) => Date.parse(span.start) <= at && (span.end === null || Date.parse(span.end) >= at));
  const loads = found.loads.map((load) => { let place = load.times.length - 1; while (place > 0 && load.times[place] > moment) place--; return load.times.length && Math.abs(load.times[place] - moment) < 30 ? [load, place] : null; }).filter(Boolean);
  const close = found.changes.filter((change) => Math.abs(Date.parse(change.at) - at) < state.span * 10);
  fill("moment", el("p", {}, when(new Date(at)), state.pinned === null ? "" : el("span", { class: "quiet" }, " pinned; click in the chart to release it")),
    near ? table([
      { name: "Machine", wide: true, cell: (host) => link(host.host, `/console/hosts/${encodeURIComponent(host.host)}`) }, { name: "CPU", right: true, cell: (host) => percent(host.cpu[index]) },
      { name: "CPU, max", right: true, cell: (host) => percent(host.cpu_max[index]) }, { name: "Memory", right: true, cell: (host) => (host.mem[index] === null ? "–" : `${number(host.mem[index])} MB`) },
      { name: "Received", right: true, cell: (host) => bytes(host.received[index]) }, { name: "Sent", right: true, cell: (host) => bytes(host.sent[index]) },
    ], found.courses.hosts, "No machine reported then.") : el("p", { class: "quiet" }, "No machine reported then."),
    loads.map(([load, place]) => el("p", {}, link(load.name, `/console/load/${load.id}`), `: ${number(load.rate[place])}/s, p50 ${seconds(load.p50[place])}, p99 ${seconds(load.p99[place])}, ${number(load.errors[place])} errors/s`)),
    on.length ? table([{ name: "Active", cell: (span) => span.lane }, { name: "", wide: true, cell: (span) => (span.href ? link(span.label, span.href) : span.label) }, { name: "", wide: true, cell: (span) => span.detail }], on.slice(0, 40), "") : null,
    close.length ? changes(close.slice(0, 20)) : null);
}

const tools = document.getElementById("tools");
tools.className = "row";
const choices = el("div", { class: "row", role: "group", "aria-label": "Span" });
spanButtons(choices, state.end === null ? state.span : null, (chosen) => { state.span = chosen; state.end = null; load(); });
const step = (words, label, action) => el("button", { class: "second", type: "button", "aria-label": label, onclick: () => { const [start, end] = edges(); action(start, end); } }, words);
fill(tools, choices,
  step("◀", "Earlier", (start, end) => move(start - state.span / 2, end - state.span / 2)), step("▶", "Later", (start, end) => move(start + state.span / 2, end + state.span / 2)),
  step("+", "Zoom in", (start, end) => move(start + state.span / 4, end - state.span / 4)), step("−", "Zoom out", (start, end) => move(start - state.span / 2, end + state.span / 2)),
  el("button", { class: "second", type: "button", onclick: (event) => runAction(event.currentTarget, async () => { const [start, end] = edges(); const address = `${location.origin}/console/timeline?from=${start.toFixed(3)}&to=${end.toFixed(3)}`; await navigator.clipboard?.writeText(address); history.replaceState(null, "", address); }) }, "Link to this view"));

const form = document.getElementById("mark-form");
form.addEventListener("submit", (event) => {
  event.preventDefault();
  runAction(form.querySelector("button"), async () => {
    await sendJson("/marks", { text: form.text.value, at: form.at.value.trim() || null });
    form.reset();
    await load();
  });
});

onThemeChange(show);
await load();
const news = onNews(() => { if (state.end === null) load(); }, 3000);
let turns = 0;
live((frame) => { news(frame); if (state.end === null && ++turns % Math.max(5, Math.round(state.span / 300)) === 0) load(); });
