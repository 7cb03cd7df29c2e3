// Commands: run one, and look at those of the past.

import { act, ask, complain, lines, Refused } from "./api.js";
import { Console } from "./console.js";
import { bytes, el, empty, fill, seconds, table, update, when } from "./dom.js";
import { live, onNews } from "./live.js";
import { exit } from "./states.js";

let next = null;
let listed = [];

function show() {
  const more = next ? el("p", {}, el("button", { class: "second", type: "button", onclick: (event) => act(event.currentTarget, older) }, "Older")) : null;
  update("jobs", table([
    { name: "Job", right: true, cell: (job) => el("a", { href: `/console/commands/${job.id}` }, String(job.id)) },
    { name: "Command", wide: true, cell: (job) => el("code", {}, job.argv.length === 1 ? job.argv[0] : job.argv.join(" ")) },
    { name: "State", cell: exit },
    { name: "Began", cell: (job) => when(job.started_at) },
    { name: "Took", right: true, cell: (job) => (job.ended_at ? seconds((new Date(job.ended_at) - new Date(job.started_at)) / 1000) : "–") },
    { name: "Output", right: true, cell: (job) => bytes(job.output_bytes) },
    { name: "By", cell: (job) => job.client },
  ], listed, empty("No job has run yet. Run a command above, or:", "smartmob exec -- uname -a")), more);
}

async function older() {
  const page = await ask(next);
  listed = [...listed, ...page.jobs];
  next = page.next_url ?? null;
  show();
}

async function refresh() {
  try {
    const page = await ask("/jobs?limit=50");
    listed = page.jobs;
    next = page.next_url ?? null;
    show();
  } catch (error) { complain(error); }
}

const form = document.getElementById("run-form");
const places = document.getElementById("places");

// On one machine, which is this one, the job's own page shows what it writes; on several each has its window here.
async function choices() {
  const peers = (await ask("/console/peers")).peers;
  const all = [{ name: "this machine", path: "/commands" }, ...peers.map((peer) => ({ name: peer.name, path: `/console/peers/${peer.number}/commands` }))];
  places.append(...all.map((place, index) => el("label", {}, el("input", { type: "checkbox", name: "place", value: String(index), checked: index === 0 }), place.name)));
  places.hidden = peers.length === 0;
  return all;
}

function chosen(all) {
  return [...places.querySelectorAll("input:checked")].map((box) => all[Number(box.value)]);
}

async function one(wanted) {
  for await (const line of lines("/commands/exec", wanted)) {
    if (line.error) throw new Refused(line.error.message);
    if (line.number !== undefined && line.job) { location.assign(`/console/commands/${line.number}`); return; }
  }
}

async function many(targets, wanted) {
  fill("runs", targets.map((target, index) => el("section", { class: "panel", "data-place": target.name },
    el("div", { class: "title" }, el("h2", {}, target.name), el("div", { id: `said-${index}`, class: "row" })),
    el("div", { id: `tools-${index}`, class: "row" }), el("div", { id: `output-${index}`, class: "console short", role: "log", "aria-live": "off", tabindex: "0", "aria-label": `Output of ${target.name}` }))));
  await Promise.all(targets.map((target, index) => follow(target, index, wanted)));
}

async function follow(target, index, wanted) {
  const output = new Console(`output-${index}`, `tools-${index}`);
  const said = document.getElementById(`said-${index}`);
  try {
    for await (const line of lines(`${target.path}/exec`, wanted)) {
      if (line.error) throw new Refused(line.error.message);
      if (line.number !== undefined && line.job) {
        const kill = el("button", { class: "danger", type: "button", "data-control": true, onclick: (event) => act(event.currentTarget, async () => { for await (const told of lines(`${target.path}/kill`, [line.number])) if (told.error) throw new Refused(told.error.message); }) }, "Kill");
        fill(said, `job ${line.number}`, kill);
      } else if (line.text !== undefined) output.write(line.text);
      else if (line.gap) output.add("[smartmob] a part is no longer kept");
      else if (line.ended) { output.end(); fill(said, exit({ state: line.state, exit_code: line.exit_code })); }
    }
  } catch (error) {
    output.add(`[smartmob] ${error.message}`);
    fill(said, exit({ state: "failed" }));
  }
}

const all = await choices();
form.addEventListener("submit", (event) => {
  event.preventDefault();
  act(form.querySelector("button"), async () => {
    const fields = new FormData(form);
    const wanted = { cmd: fields.get("command") };
    if (fields.get("cwd")) wanted.cwd = fields.get("cwd");
    const targets = chosen(all);
    if (!targets.length) throw new Refused("Choose a machine.");
    if (targets.length === 1 && targets[0].path === "/commands") await one(wanted);
    else await many(targets, wanted);
  });
});

await refresh();
const news = onNews(refresh, 1500);
live(news);
