// The overview: machines, processes, the load test, test runs, jobs and changes.

import { fetchJson, showError } from "./api.js";
import { ago, badge, bytes, counted, el, emptyState, fill, link, megabytes, number, percent, seconds, silent, table, tiles, update, when } from "./dom.js";
import { live, onNews } from "./live.js";
import { changes } from "./changes.js";
import { Spark } from "./spark.js";
import { state, verdict } from "./states.js";
import { runName } from "./verdicts.js";

const SHOWN_CHANGES = 15; // the others are folded
const cards = new Map();
const starts = new Map();

function card(host) {
  const known = cards.get(host.name);
  if (known) return known;
  const parts = { cpu: el("strong"), status: el("span"), mem: el("span"), load: el("span"), spark: new Spark() };
  for (const [time, value] of starts.get(host.name) ?? []) parts.spark.add(time, value);
  parts.node = el("a", { class: "host", href: `/console/hosts/${encodeURIComponent(host.name)}`, "data-host": host.name },
    el("div", { class: "name" }, el("span", {}, host.name), parts.status),
    parts.cpu, parts.spark.node, el("div", { class: "figures" }, parts.mem, parts.load));
  cards.set(host.name, parts);
  return parts;
}

function showHosts(frame) {
  for (const host of frame.hosts) {
    const parts = card(host);
    const away = silent(host, frame.at);
    parts.node.classList.toggle("stale", away);
    parts.status.replaceChildren(away ? badge(`silent, ${ago(host.at)}`, "warning") : host.own ? badge("this service", "plain") : "");
    parts.cpu.textContent = `${percent(host.cpu)} CPU`;
    parts.mem.textContent = host.mem === null ? "" : `memory ${megabytes(host.mem)}${host.totals?.mem ? ` of ${megabytes(host.totals.mem)}` : ""}`;
    parts.load.textContent = host.load === null ? "" : `load ${number(host.load, 2)}`;
    if (host.at) parts.spark.add(new Date(host.at) / 1000, host.cpu);
    parts.spark.draw(new Date(frame.at) / 1000);
  }
  const order = frame.hosts.map((host) => card(host).node);
  const place = document.getElementById("hosts");
  if (place.children.length !== order.length || order.some((node, index) => place.children[index] !== node)) fill(place, order);
}

function showProcesses(frame) {
  const counts = new Map();
  for (const process of frame.processes) counts.set(process.state, (counts.get(process.state) ?? 0) + 1);
  document.getElementById("process-counts").textContent = [...counts].map(([name, count]) => `${count} ${name}`).join(", ");
  const worst = (process) => (process.state === "running" ? 1 : 0);
  const shown = [...frame.processes].sort((one, other) => worst(one) - worst(other)).slice(0, 12);
  update("processes", table([
    { name: "Program", wide: true, cell: (row) => link(row.slug, `/console/processes/${encodeURIComponent(row.slug)}`) },
    { name: "State", cell: (row) => state(row.state) },
    { name: "CPU", right: true, cell: (row) => percent(row.cpu) },
    { name: "Memory", right: true, cell: (row) => bytes(row.memory) },
    { name: "Restarts", right: true, cell: (row) => number(row.restarts) },
  ], shown, emptyState("No program is running. Deploy one:", "smartmob run ./myapp"), { filter: false }));
}

function showLoad(frame) {
  const load = frame.load;
  if (!load) {
    update("load", emptyState("No load test is running. Start one:", "smartmob fire my-project"));
    return;
  }
  update("load",
    el("p", {}, link(load.name, `/console/load/${load.id}`), " ", state(load.state)),
    el("progress", { max: load.run_time, value: Math.min(load.run_time, Math.max(0, load.elapsed)), "aria-label": "Elapsed share of the run time" }),
    tiles([["per second", number(load.rate)], ["p50", seconds(load.p50)], ["p99", seconds(load.p99)],
      ["transactions", number(load.transactions)], ["errors", number(load.errors)], ["turrets", number(load.turrets)]]));
}

function showJobs(frame) {
  update("jobs", table([
    { name: "Command", wide: true, cell: (row) => el("a", { href: `/console/commands/${row.id}` }, el("code", {}, row.line)) },
    { name: "Elapsed", right: true, cell: (row) => seconds(Math.max(0, Math.round((Date.parse(frame.at) - Date.parse(row.started_at)) / 1000))).replace(".00", "") },
    { name: "Output", right: true, cell: (row) => bytes(row.output) },
    { name: "Client", wide: true, cell: (row) => row.client },
  ], frame.jobs, emptyState("No job is running. Run a command on this machine:", "smartmob exec -- uname -a")));
}

function showRest(document) {
  update("runs", table([
    { name: "Run", wide: true, cell: (run) => link(runName(run), `/console/tests/runs/${encodeURIComponent(run.id)}`) },
    { name: "Verdict", cell: (run) => (run.verdict ? el("span", { title: run.reason ?? "" }, verdict(run)) : "–") },
    { name: "Started", cell: (run) => when(run.started_at) },
    { name: "Tests", right: true, cell: (run) => number(run.metrics) },
    { name: "Time", right: true, cell: (run) => seconds(run.total_time) },
  ], document.runs, emptyState("No test run has been measured yet:", `pytest --remote-server ${location.origin} --no-db`), { filter: false }));
  const older = document.changes.slice(SHOWN_CHANGES);
  update("changes", changes(document.changes.slice(0, SHOWN_CHANGES)), older.length ? el("details", {}, el("summary", {}, counted(older.length, "earlier change")), changes(older)) : null);
}

async function refresh() {
  try {
    const document = await fetchJson("/console/data/overview");
    const { times, hosts } = document.courses;
    for (const { host, cpu } of hosts) starts.set(host, times.map((time, index) => [time, cpu[index]]));
    showRest(document);
  } catch (error) { showError(error); }
}

await refresh();
const news = onNews(refresh);
live((frame) => { showHosts(frame); showProcesses(frame); showLoad(frame); showJobs(frame); news(frame); });
