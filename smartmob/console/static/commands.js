// The page of commands: a form to run one, and the list of jobs.

import { runAction, fetchJson, showError, streamLines, RequestError } from "./api.js";
import { OutputView } from "./output_view.js";
import { bytes, el, emptyState, fill, seconds, table, update, when } from "./dom.js";
import { live, onNews } from "./live.js";
import { jobTable, serviceOf } from "./nodes.js";
import { suggestions } from "./recent.js";
import { exitBadge } from "./states.js";

let next = null;
let listed = [];
let sizes = new Map(); // the output of running jobs so far, in bytes

function show() {
  const more = next ? el("p", {}, el("button", { class: "second", type: "button", onclick: (event) => runAction(event.currentTarget, older) }, "Older")) : null;
  update("jobs", table([
    { name: "Job", right: true, cell: (job) => el("a", { href: `/console/commands/${job.id}` }, String(job.id)) },
    { name: "Command", wide: true, cell: (job) => el("code", {}, job.argv.length === 1 ? job.argv[0] : job.argv.join(" ")) },
    { name: "State", cell: exitBadge },
    { name: "Started", cell: (job) => when(job.started_at) },
    { name: "Duration", right: true, title: "Of a running job the time so far", cell: (job) => seconds(Math.max(0, ((job.ended_at ? Date.parse(job.ended_at) : Date.now()) - Date.parse(job.started_at)) / 1000)) },
    { name: "Output", right: true, cell: (job) => bytes(sizes.get(job.id) ?? job.output_bytes) },
    { name: "Client", cell: (job) => job.client },
  ], listed, emptyState("No job has run yet. Run a command above, or:", "smartmob exec -- uname -a")), more);
}

function suggest() {
  const lines = new Map(listed.map((job) => [job.argv.join(" "), ""]));
  document.body.append(suggestions("known-commands", lines), suggestions("known-folders", new Map(listed.map((job) => [job.cwd, ""]))));
}

async function older() {
  const page = await fetchJson(next);
  listed = [...listed, ...page.jobs];
  next = page.next_url ?? null;
  show();
}

async function refresh() {
  try {
    const page = await fetchJson("/jobs?limit=50");
    listed = page.jobs;
    next = page.next_url ?? null;
    show();
    suggest();
    const ofNodes = (await fetchJson("/console/data/node-jobs")).jobs;
    document.getElementById("of-nodes").hidden = ofNodes.length === 0;
    if (ofNodes.length) update("node-jobs", jobTable(ofNodes));
  } catch (error) { showError(error); }
}

const form = document.getElementById("run-form");
const places = document.getElementById("places");

// Output on this machine alone is shown by the page of the job; on several machines, each has a panel here.
async function machineChoices() {
  const [{ peers }, { nodes }] = await Promise.all([fetchJson("/console/peers"), fetchJson("/api/v1/nodes")]);
  const all = [{ name: "this machine", path: "/commands" }, ...peers.map((peer) => ({ name: peer.name, path: `/console/peers/${peer.number}/commands` })),
    ...nodes.filter((node) => node.connected).map((node) => ({ name: node.name, path: `${serviceOf(node.name)}/commands` }))];
  places.append(...all.map((place, index) => el("label", {}, el("input", { type: "checkbox", name: "place", value: String(index), checked: index === 0 }), place.name)));
  places.hidden = all.length === 1;
  return all;
}

function chosen(all) {
  return [...places.querySelectorAll("input:checked")].map((box) => all[Number(box.value)]);
}

async function runHere(wanted) {
  for await (const line of streamLines("/commands/exec", wanted)) {
    if (line.error) throw new RequestError(line.error.message);
    if (line.number !== undefined && line.job) { location.assign(`/console/commands/${line.number}`); return; }
  }
}

async function runOnMany(targets, wanted) {
  fill("runs", targets.map((target, index) => el("section", { class: "panel", "data-place": target.name },
    el("div", { class: "title" }, el("h2", {}, target.name), el("div", { id: `status-${index}`, class: "row" })),
    el("div", { id: `tools-${index}`, class: "row" }), el("div", { id: `output-${index}`, class: "console short", role: "log", "aria-live": "off", tabindex: "0", "aria-label": `Output of ${target.name}` }))));
  await Promise.all(targets.map((target, index) => follow(target, index, wanted)));
}

async function follow(target, index, wanted) {
  const output = new OutputView(`output-${index}`, `tools-${index}`);
  const status = document.getElementById(`status-${index}`);
  try {
    for await (const line of streamLines(`${target.path}/exec`, wanted)) {
      if (line.error) throw new RequestError(line.error.message);
      if (line.number !== undefined && line.job) {
        const kill = el("button", { class: "danger", type: "button", "data-control": true, onclick: (event) => runAction(event.currentTarget, async () => { for await (const answer of streamLines(`${target.path}/kill`, [line.number])) if (answer.error) throw new RequestError(answer.error.message); }) }, "Kill");
        fill(status, `job ${line.number}`, kill);
      } else if (line.text !== undefined) output.write(line.text);
      else if (line.gap) output.add("[smartmob] some output is no longer stored");
      else if (line.ended) { output.end(); fill(status, exitBadge({ state: line.state, exit_code: line.exit_code })); }
    }
  } catch (error) {
    output.add(`[smartmob] ${error.message}`);
    fill(status, exitBadge({ state: "failed" }));
  }
}

const all = await machineChoices();
form.addEventListener("submit", (event) => {
  event.preventDefault();
  runAction(form.querySelector("button"), async () => {
    const fields = new FormData(form);
    const wanted = { cmd: fields.get("command") };
    if (fields.get("cwd")) wanted.cwd = fields.get("cwd");
    const targets = chosen(all);
    if (!targets.length) throw new RequestError("Choose a machine.");
    if (targets.length === 1 && targets[0].path === "/commands") await runHere(wanted);
    else await runOnMany(targets, wanted);
  });
});

await refresh();
const news = onNews(refresh, 1500);
live((frame) => {
  sizes = new Map(frame.jobs.map((job) => [job.id, job.output]));
  if (listed.some((job) => job.state === "running")) show();
  news(frame);
});
