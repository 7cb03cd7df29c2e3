// Machines: the present state of each, and the load of all over time.

import { fetchJson, showError } from "./api.js";
import { COLOURS, dates, draw, escapeHtml, layout, line, onThemeChange, spanButtons, stacked } from "./charts.js";
import { ago, badge, bytes, emptyState, figure, link, number, ofTotal, percent, silent, table, update } from "./dom.js";
import { live } from "./live.js";
import { connection, joinedMachines, labels, machinePage, programCounts } from "./nodes.js";

const rate = (value) => (value === null ? "–" : `${bytes(value)}/s`);
let span = 3600;

function show(frame) {
  update("hosts", table([
    { name: "Machine", wide: true, cell: (host) => link(host.name, `/console/hosts/${encodeURIComponent(host.name)}`) },
    { name: "Last report", cell: (host) => (silent(host, frame.at) ? badge(host.at ? `silent, last seen ${ago(host.at)}` : "never reported", "warning") : badge(host.own ? "this service" : "reports", "good")) },
    { name: "CPU", right: true, cell: (host) => figure(host, "cpu", percent) },
    { name: "Load", right: true, cell: (host) => figure(host, "load", (value) => number(value, 2)) },
    { name: "Memory", right: true, cell: (host) => ofTotal(host, "mem") },
    { name: "Storage", right: true, cell: (host) => ofTotal(host, "storage") },
    { name: "In", right: true, cell: (host) => figure(host, "net_received", rate) },
    { name: "Out", right: true, cell: (host) => figure(host, "net_sent", rate) },
  ], frame.hosts, emptyState("No machine reports yet. On a machine under test, run:", `smartmob report-host --to ${location.origin} --name rack7`), { rowClass: (host) => (silent(host, frame.at) ? "stale" : null) }));
}

function showNodes(frame) {
  const machines = joinedMachines(frame);
  document.getElementById("joined").hidden = machines.length === 0;
  if (machines.length) update("nodes", table([
    { name: "Node", wide: true, cell: (node) => link(node.name, machinePage(node.name)) },
    { name: "Connection", cell: connection },
    { name: "Labels", wide: true, cell: labels },
    { name: "Programs", wide: true, cell: programCounts },
    { name: "Running jobs", right: true, cell: (node) => number(node.activity.jobs_in_all) },
    { name: "Version", cell: (node) => node.facts.version },
  ], machines, "", { rowClass: (node) => (node.connected ? null : "stale") }));
}

async function course() {
  const end = Date.now() / 1000;
  try {
    const found = await fetchJson(`/console/data/timeline?from=${end - span}&to=${end}&points=300`);
    const x = dates(found.courses.times);
    const traces = found.courses.hosts.flatMap((host, index) => {
      const colour = COLOURS[index % COLOURS.length];
      return [
        line(escapeHtml(host.host), x, host.cpu, { line: { color: colour }, legendgroup: host.host, hovertemplate: "%{y:.1f} %" }),
        line(escapeHtml(host.host), x, host.received, { line: { color: colour }, legendgroup: host.host, showlegend: false, yaxis: "y2", hovertemplate: "%{y:.3s}B/s" }),
      ];
    });
    await draw("chart", traces, layout({
      xaxis: { type: "date", range: [new Date((end - span) * 1000), new Date(end * 1000)], anchor: "y2" },
      margin: { l: 56, r: 16, t: 76, b: 40 }, ...stacked([["CPU, %"], ["Received, B/s", { tickformat: "~s" }]]),
    }));
  } catch (error) { showError(error); }
}

spanButtons(document.getElementById("tools"), span, (seconds) => { span = seconds; course(); });
onThemeChange(course);
await course();
setInterval(course, 15000);
live((frame) => { show(frame); showNodes(frame); });
