// The machines that have joined: the addresses of their services, and the tables of what runs there.

import { runAction, sendJson } from "./api.js";
import { ago, badge, confirmDialog, el, link, number, seconds, table, when } from "./dom.js";
import { exitBadge, readiness, state } from "./states.js";

// The address before the paths of the service of a node; of this service's own machine it is empty.
export const serviceOf = (node) => (node ? `/api/v1/nodes/${encodeURIComponent(node)}/service` : "");
export const machinePage = (name) => `/console/hosts/${encodeURIComponent(name)}`;
export const programPage = (node, slug) => `${machinePage(node)}/processes/${encodeURIComponent(slug)}`;
export const jobPage = (node, id) => `${machinePage(node)}/jobs/${id}`;

// The buttons of a program, on a node or on this service's own machine.
export function programButtons(slug, node = null) {
  const path = (verb) => `${serviceOf(node)}/${verb}/${encodeURIComponent(slug)}`;
  const words = node ? `${slug} on ${node}` : slug;
  const button = (text, kind, action) => el("button", { class: kind, type: "button", onclick: (event) => runAction(event.currentTarget, action) }, text);
  return el("div", { class: "buttons", "data-control": true },
    button("Restart", "second", () => sendJson(path("restart-process"))),
    button("Stop", "second", async () => { if (await confirmDialog(`Stop ${words}? It stays in the list.`, "Stop")) await sendJson(path("stop-process")); }),
    button("Delete", "danger", async () => { if (await confirmDialog(`Stop ${words} with all its child processes and delete it?`, "Delete")) await sendJson(path("delete-process")); }));
}

// The nodes of a frame, and behind them the other services on the database, which are used like nodes.
export const joinedMachines = (frame) => [...frame.nodes, ...frame.services];

export function connection(node) {
  if (node.service) return node.connected ? badge("a service on this database", "good") : badge(`a service that ended, last seen ${ago(node.seen_at)}`, "warning");
  if (node.connected) return node.drained ? badge("drained", "warning") : badge("connected", "good");
  return badge(node.seen_at ? `away, last seen ${ago(node.seen_at)}` : "never connected", "warning");
}

export const labels = (node) => Object.entries(node.labels).map(([name, value]) => (value ? `${name}=${value}` : name)).join(", ");

// Numbers of programs by their state, as in "2 running, 1 backoff".
export function programCounts(node) {
  const counts = new Map();
  for (const program of node.activity.programs) counts.set(program.state, (counts.get(program.state) ?? 0) + 1);
  return [...counts].map(([name, count]) => `${count} ${name}`).join(", ") || "none";
}

// A table of the programs of some nodes. What a node that is away has reported last is marked.
export function programTable(nodes, { single = false } = {}) {
  const rows = nodes.flatMap((node) => node.activity.programs.map((program) => ({ ...program, node, slug: null, id: `${node.name} ${program.slug}`, program: program.slug })));
  return table([
    { name: "Program", wide: true, cell: (row) => link(row.program, programPage(row.node.name, row.program)) },
    single ? null : { name: "Machine", cell: (row) => link(row.node.name, machinePage(row.node.name)) },
    { name: "State", wide: true, cell: (row) => el("span", {}, row.node.connected ? state(row.state) : badge(`${row.state} when last seen`, "warning"), readiness(row), el("small", { class: "reason" }, row.detail)) },
    { name: "PID", right: true, cell: (row) => row.pid ?? "–" },
    { name: "Port", right: true, cell: (row) => row.port ?? "–" },
    { name: "Restarts", right: true, cell: (row) => number(row.restarts) },
    { name: "", right: true, control: true, cell: (row) => programButtons(row.program, row.node.name) },
  ].filter(Boolean), rows, "No programs there.", { key: single ? "programs of a node" : "programs of nodes", rowClass: (row) => (row.node.connected ? null : "stale") });
}

// A table of the running jobs of another service, as it has reported them.
export function runningJobTable(node) {
  return table([
    { name: "Job", right: true, cell: (row) => link(String(row.id), jobPage(node.name, row.id)) },
    { name: "Command", wide: true, cell: (row) => el("code", {}, row.line) },
  ], node.activity.jobs, "No jobs are running there.", { key: "running jobs of a service" });
}

// A table of jobs of nodes, as the service has stored them.
export function jobTable(jobs, { single = false } = {}) {
  const rows = jobs.map((job) => ({ ...job.record, node: job.node, id: `${job.node} ${job.job_id}`, number: job.job_id }));
  return table([
    { name: "Job", right: true, cell: (row) => link(String(row.number), jobPage(row.node, row.number)) },
    single ? null : { name: "Machine", cell: (row) => link(row.node, machinePage(row.node)) },
    { name: "Command", wide: true, cell: (row) => el("code", {}, row.argv.join(" ")) },
    { name: "State", cell: exitBadge },
    { name: "Started", cell: (row) => when(row.started_at) },
    { name: "Duration", right: true, cell: (row) => seconds(Math.max(0, ((row.ended_at ? Date.parse(row.ended_at) : Date.now()) - Date.parse(row.started_at)) / 1000)) },
    { name: "Client", cell: (row) => row.client },
  ].filter(Boolean), rows, "No job has run there.", { key: single ? "jobs of a node" : "jobs of nodes" });
}
