// The timeline: all data on one time axis. Zoom and pan load the data again at the right resolution, and the address
// reproduces the view.

import { runAction, fetchJson, showError, sendJson } from "./api.js";
import { draw, onThemeChange, spanButtons } from "./charts.js";
import { el, fill, table, update, when } from "./dom.js";
import { live, onNews } from "./live.js";
import { card, panel } from "./moment.js";
import { judgedSpans, timelineDrawing } from "./timeline_chart.js";

const given = new URLSearchParams(location.search);
const state = { end: Number(given.get("to")) || null, span: 0, pinned: null, document: null, requests: 0, machines: given.get("machines") ?? "" };
state.span = given.get("from") && state.end ? state.end - Number(given.get("from")) : Number(given.get("span")) || 3600;

const edges = () => { const end = state.end ?? Date.now() / 1000; return [end - state.span, end]; };

// The part of an address that names the chosen machines.
const chosen = () => (state.machines ? `&machines=${encodeURIComponent(state.machines)}` : "");

function remember() {
  const [start, end] = edges();
  const query = state.end === null ? `span=${Math.round(state.span)}` : `from=${start.toFixed(3)}&to=${end.toFixed(3)}`;
  history.replaceState(null, "", `?${query}${chosen()}`);
}

async function load() {
  const number = ++state.requests;
  const [start, end] = edges();
  const width = document.getElementById("chart").clientWidth;
  try {
    const document = await fetchJson(`/console/data/timeline?from=${start}&to=${end}&points=${Math.max(60, Math.min(1200, Math.round(width / 3)))}${chosen()}`);
    if (number !== state.requests) return;
    state.document = document;
    document.courses.hosts.sort((one, other) => one.host.localeCompare(other.host, undefined, { numeric: true }));
    remember();
    await show();
  } catch (error) { showError(error); }
}

let drawing = 0;
let spans = [];

// The verdicts of test runs come one after the other.
function redraw() {
  if (!drawing) drawing = setTimeout(() => { drawing = 0; show().catch(showError); }, 200);
}

async function show() {
  const node = document.getElementById("chart");
  spans = judgedSpans(state.document, redraw);
  const { traces, wanted, height } = timelineDrawing(state.document, spans, node.clientWidth);
  node.style.height = `${height}px`;
  await draw("chart", traces, wanted);
  listen(node);
  fill("partial", state.document.partial.length ? `Only the newest items are shown of: ${state.document.partial.join(", ")}. Zoom in to see all.` : "");
  update("marks", table([
    { name: "At", cell: (mark) => when(mark.at) }, { name: "Mark", wide: true, cell: (mark) => mark.text }, { name: "Author", cell: (mark) => mark.author || "–" },
    { name: "", right: true, control: true, cell: (mark) => el("button", { class: "link", type: "button", "data-control": true, onclick: (event) => runAction(event.currentTarget, async () => { await sendJson(`/marks/${mark.id}`, undefined, "DELETE"); await load(); }) }, "Delete") },
  ], state.document.marks, "No marks in this span."));
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
  node.parentElement.append(crosshair, hoverCard);
  node.addEventListener("mousemove", (event) => {
    const moment = under(node, event);
    point(node, event, moment);
    if (moment !== null && state.pinned === null) showMoment(moment);
  });
  node.addEventListener("mouseleave", () => { crosshair.hidden = hoverCard.hidden = true; });
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

// Shows one point in time: the values of all curves, and all that was active.
function showMoment(moment) {
  fill("moment", panel(state.document, spans, moment, state.span, state.pinned !== null));
}

const crosshair = el("div", { class: "crosshair", hidden: true });
const hoverCard = el("div", { class: "hover-card", hidden: true });

// Draws the line at the pointer, and beside it the card of that moment.
function point(node, event, moment) {
  crosshair.hidden = hoverCard.hidden = moment === null;
  if (moment === null) return;
  const box = node.getBoundingClientRect();
  const size = node._fullLayout._size;
  const x = event.clientX - box.left;
  Object.assign(crosshair.style, { left: `${x}px`, top: `${size.t}px`, height: `${size.h}px` });
  fill(hoverCard, card(state.document, spans, moment));
  const left = x + 14 + hoverCard.offsetWidth > box.width ? x - 14 - hoverCard.offsetWidth : x + 14;
  Object.assign(hoverCard.style, { left: `${Math.max(0, left)}px`, top: `${Math.max(0, Math.min(event.clientY - box.top + 12, box.height - hoverCard.offsetHeight))}px` });
}

const tools = document.getElementById("tools");
tools.className = "row";
const choices = el("div", { class: "row", role: "group", "aria-label": "Span" });
spanButtons(choices, state.end === null ? state.span : null, (chosen) => { state.span = chosen; state.end = null; load(); });
const step = (words, label, action) => el("button", { class: "second", type: "button", "aria-label": label, onclick: () => { const [start, end] = edges(); action(start, end); } }, words);
fill(tools, choices,
  step("◀", "Earlier", (start, end) => move(start - state.span / 2, end - state.span / 2)), step("▶", "Later", (start, end) => move(start + state.span / 2, end + state.span / 2)),
  step("+", "Zoom in", (start, end) => move(start + state.span / 4, end - state.span / 4)), step("−", "Zoom out", (start, end) => move(start - state.span / 2, end + state.span / 2)),
  el("label", { class: "inline" }, "Go to ", el("input", { type: "datetime-local", step: 1, onchange: (event) => { const at = Date.parse(event.currentTarget.value) / 1000; if (at) move(at - state.span / 2, at + state.span / 2); } })),
  el("label", { id: "machines", class: "inline", hidden: !state.machines }, "Machines ", el("input", { type: "text", value: state.machines, placeholder: "all", spellcheck: "false", onchange: (event) => { state.machines = event.currentTarget.value.trim(); load(); } })),
  el("button", { class: "second", type: "button", onclick: (event) => runAction(event.currentTarget, async () => { const [start, end] = edges(); const address = `${location.origin}/console/timeline?from=${start.toFixed(3)}&to=${end.toFixed(3)}${chosen()}`; await navigator.clipboard?.writeText(address); history.replaceState(null, "", address); }) }, "Link to this view"));

const form = document.getElementById("mark-form");
form.addEventListener("submit", (event) => {
  event.preventDefault();
  runAction(form.querySelector("button"), async () => {
    await sendJson("/marks", { text: form.text.value, at: form.at.value ? new Date(form.at.value).toISOString() : null });
    form.reset();
    await load();
  });
});

onThemeChange(show);
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; redraw(); } });
await load();
const news = onNews(() => { if (state.end === null) load(); }, 3000);
let turns = 0;
live((frame) => { document.getElementById("machines").hidden = !state.machines && frame.nodes.length === 0; news(frame); if (state.end === null && ++turns % Math.max(5, Math.round(state.span / 300)) === 0) load(); });
