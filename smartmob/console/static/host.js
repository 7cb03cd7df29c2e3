// The page of a machine: its newest sample, and its time series.

import { fetchJson, showError } from "./api.js";
import { draw, layout, line, onThemeChange, spanButtons, stacked } from "./charts.js";
import { MEGABYTE, ago, badge, bytes, el, figure, megabytes, number, ofTotal, percent, seconds, silent, table, tiles, update, when } from "./dom.js";
import { live, onNews } from "./live.js";
import { connection, jobTable, joinedMachines, labels, programTable, runningJobTable } from "./nodes.js";

const name = document.getElementById("main").dataset.id;
const rate = (value) => (value === null ? "–" : `${bytes(value)}/s`);
let span = 3600;
let details = null;

let jobs = null; // those of the node; null for a machine that is none

async function loadJobs() {
  try { jobs = (await fetchJson(`/api/v1/nodes/${encodeURIComponent(name)}/jobs?limit=50`)).jobs; } catch (error) { showError(error); }
}

// A client may have reserved the machine: work of others is refused meanwhile.
let reserved = null;

async function loadReservation() {
  try { reserved = (await fetchJson("/api/v1/reservations")).reservations.find((each) => each.node === name) ?? null; } catch (error) { showError(error); }
}

const reservation = () => el("span", {}, badge(`reserved by ${reserved.holder}`, "warning"), " until ", when(reserved.until), el("small", { class: "reason" }, reserved.reason));

// The marks of the lab: a change of a kernel or a network affects the machines on which it was made, and their neighbours.
async function loadMarks() {
  try {
    const { marks } = await fetchJson("/marks");
    update("marks", table([
      { name: "Time", cell: (mark) => when(mark.at) },
      { name: "Mark", wide: true, cell: (mark) => mark.text },
      { name: "By", cell: (mark) => mark.author },
    ], marks.reverse().slice(0, 50), "No marks in the last day."));
  } catch (error) { showError(error); }
}

function showNode(node) {
  for (const id of ["node-programs", "node-jobs"]) document.getElementById(id).hidden = false;
  update("programs", programTable([node], { single: true }));
  if (node.service) update("jobs", runningJobTable(node));
  else if (jobs) update("jobs", jobTable(jobs, { single: true }));
  else loadJobs();
}

const nodeTiles = (node) => (node ? [[node.service ? "service" : "node", connection(node)], Object.keys(node.labels).length ? ["labels", labels(node)] : null, node.facts.system ? ["system", node.facts.system] : null, ["smartmob", node.facts.version], reserved ? ["reservation", reservation()] : null] : []);

function show(frame) {
  markNews(frame);
  const node = joinedMachines(frame).find((row) => row.name === name);
  if (node) { showNode(node); if (!node.service) news(frame); }
  const host = frame.hosts.find((row) => row.name === name);
  if (!host) {
    if (node) update("summary", tiles([node.service ? ["machine", node.facts.machine] : ["", badge("load not reported yet", "warning")], ...nodeTiles(node)]));
    return;
  }
  const away = silent(host, frame.at);
  document.getElementById("summary").classList.toggle("stale", away);
  const heard = away ? badge(host.at ? `silent, last seen ${ago(host.at)}` : "never reported", "warning") : badge("reports", "good");
  update("summary", tiles([["", heard], ["CPU", figure(host, "cpu", percent)], ["load", figure(host, "load", (value) => number(value, 2))], ["memory", ofTotal(host, "mem")], ["storage", ofTotal(host, "storage")],
    ["received", figure(host, "net_received", rate)], ["sent", figure(host, "net_sent", rate)],
    host.unread.length ? ["sent but not stored", host.unread.join(", ")] : null,
    details?.clock ? ["its clock is off by", seconds(details.clock.offset)] : null, details ? ["registered", when(details.registered_at)] : null, ...nodeTiles(node)]),
  host.cores?.length ? el("div", { class: "parts" }, el("h3", {}, "Each core"), el("div", { class: "meters" }, host.cores.map((core, index) => meter(`core ${index}`, core, `${Math.round(core)} %`)))) : null,
  Object.keys(host.file_systems).length ? el("div", { class: "parts" }, el("h3", {}, "Each file system"), el("div", { class: "meters wide" }, Object.entries(host.file_systems).map(([folder, one]) => meter(folder, one.total ? (100 * one.used) / one.total : 0, `${megabytes(one.used)} of ${megabytes(one.total)}`)))) : null);
}

function meter(name, share, words) {
  return el("div", { class: "one-meter" }, el("span", {}, name), el("meter", { min: 0, max: 100, high: 85, optimum: 0, value: Math.min(100, share), "aria-label": `${name}: ${words}` }), el("span", { class: "quiet" }, words));
}

async function course() {
  const end = Date.now() / 1000;
  try {
    const found = await fetchJson(`/hosts/${encodeURIComponent(name)}/samples?from=${end - span}&to=${end}&points=600`);
    const x = found.points.map((point) => new Date(point.time));
    const of = (figure, part) => found.points.map((point) => point[figure]?.[part] ?? null);
    const sizes = (figure) => of(figure, "avg").map((value) => (value === null ? null : value * MEGABYTE));
    const most = found.width ? [line("CPU, max", x, of("cpu", "max"), { line: { width: 0.8, dash: "dot" }, hovertemplate: "%{y:.1f} %" })] : [];
    await draw("chart", [
      line("CPU", x, of("cpu", "avg"), { hovertemplate: "%{y:.1f} %" }), ...most,
      line("memory", x, sizes("mem"), { yaxis: "y2", hovertemplate: "%{y:.3s}B" }),
      line("swap", x, sizes("swap"), { yaxis: "y2", hovertemplate: "%{y:.3s}B" }),
      line("received", x, of("net_received", "avg"), { yaxis: "y3", hovertemplate: "%{y:.3s}B/s" }), line("sent", x, of("net_sent", "avg"), { yaxis: "y3", hovertemplate: "%{y:.3s}B/s" }),
      line("read", x, of("disk_read", "avg"), { yaxis: "y4", hovertemplate: "%{y:.3s}B/s" }), line("written", x, of("disk_write", "avg"), { yaxis: "y4", hovertemplate: "%{y:.3s}B/s" }),
    ], layout({
      xaxis: { type: "date", range: [new Date((end - span) * 1000), new Date(end * 1000)], anchor: "y4" },
      margin: { l: 56, r: 16, t: 76, b: 40 }, ...stacked([["CPU, %"], ["Memory, B", { tickformat: "~s" }], ["Network, B/s", { tickformat: "~s" }], ["Disk, B/s", { tickformat: "~s" }]]),
    }));
  } catch (error) { showError(error); }
}

spanButtons(document.getElementById("tools"), span, (chosen) => { span = chosen; course(); });
onThemeChange(course);
const news = onNews(loadJobs, 1500);
const markNews = onNews(loadMarks, 1500);
await loadMarks();
await loadReservation();
setInterval(loadReservation, 15000);
if (document.getElementById("summary").dataset.measured === "true") {
  try { details = await fetchJson(`/hosts/${encodeURIComponent(name)}`); } catch (error) { showError(error); }
  await course();
  setInterval(course, 15000);
}
live(show);
