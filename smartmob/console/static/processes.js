// The page of programs: their list, and a form to deploy a program.

import { runAction, fetchJson, RequestError, sendJson, showError } from "./api.js";
import { bytes, el, emptyState, link, number, percent, seconds, table, update, when } from "./dom.js";
import { live } from "./live.js";
import { joinedMachines, programButtons, programTable } from "./nodes.js";
import { Spark } from "./spark.js";
import { readiness, state } from "./states.js";

const CURVE_SECONDS = 600;
const curves = new Map(); // the curves of a program by its name

function curvesOf(slug) {
  if (!curves.has(slug)) curves.set(slug, { cpu: new Spark(1, CURVE_SECONDS), memory: new Spark(1, CURVE_SECONDS) });
  return curves.get(slug);
}

// Load the curves of the last minutes; each frame adds a point to them.
export async function loadCurves() {
  for (const one of (await fetchJson("/console/data/processes")).processes) {
    const known = curvesOf(one.slug);
    one.times.forEach((time, place) => { known.cpu.add(time, one.cpu[place]); known.memory.add(time, one.memory[place]); });
  }
}

// Add the values of a frame, and return the curves of a program with what they show.
export function drawCurves(row, at) {
  const known = curvesOf(row.slug);
  known.cpu.add(at, row.cpu);
  known.memory.add(at, row.memory);
  known.cpu.draw(at);
  known.memory.draw(at);
  return known;
}

const figureWith = (spark, text) => el("span", { class: "figure-with" }, text, spark.node.cloneNode(true));

// The reason why a program does not run: the state in words, its last exit, and when it is tried again.
function reason(row) {
  if (row.state === "running") return row.ready === false ? row.ready_detail : "";
  const exit = row.last_status === null ? "" : row.last_status < 0 ? `ended by signal ${-row.last_status}` : `exited ${row.last_status}`;
  const words = [row.detail, row.detail.includes(exit) ? "" : exit].filter(Boolean).join("; ");
  return row.next_try_at ? el("span", {}, words, words ? ", " : "", "next try ", when(row.next_try_at)) : words;
}

function show(frame) {
  const at = Date.parse(frame.at) / 1000;
  const drawn = new Map(frame.processes.map((row) => [row.slug, drawCurves(row, at)]));
  update("processes", table([
    { name: "Program", wide: true, cell: (row) => link(row.slug, `/console/processes/${encodeURIComponent(row.slug)}`) },
    { name: "State", wide: true, cell: (row) => el("span", {}, state(row.state), readiness(row), el("small", { class: "reason" }, reason(row))) },
    { name: "PID", right: true, cell: (row) => row.pid ?? "–" },
    { name: "Port", right: true, cell: (row) => row.port ?? "–" },
    { name: "Uptime", right: true, cell: (row) => seconds(row.uptime) },
    { name: "Restarts", right: true, cell: (row) => number(row.restarts) },
    { name: "CPU", right: true, cell: (row) => figureWith(drawn.get(row.slug).cpu, percent(row.cpu)) },
    { name: "Memory", right: true, cell: (row) => figureWith(drawn.get(row.slug).memory, bytes(row.memory)) },
    { name: "", right: true, control: true, cell: (row) => programButtons(row.slug) },
  ], frame.processes, emptyState("No program is running. Deploy one below, or:", "smartmob run ./myapp")));
  const nodes = joinedMachines(frame).filter((node) => node.activity.programs.length);
  document.getElementById("of-nodes").hidden = nodes.length === 0;
  if (nodes.length) update("node-processes", programTable(nodes));
}

function upload(file, said) {
  const bar = document.getElementById("upload");
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/upload-archive");
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.addEventListener("progress", (event) => {
      bar.hidden = false;
      bar.value = event.total ? event.loaded / event.total : 0;
      said.textContent = `${bytes(event.loaded)} of ${bytes(event.total)}`;
    });
    request.addEventListener("load", () => {
      const answer = JSON.parse(request.responseText || "{}");
      if (request.status < 300) resolve(answer);
      else reject(new RequestError(answer.detail ?? "", { archive: answer.detail ?? `the service answered ${request.status}` }));
    });
    request.addEventListener("error", () => reject(new RequestError("", { archive: "the upload was interrupted" })));
    request.send(file);
  });
}

const form = document.getElementById("create-form");
form?.addEventListener("submit", (event) => {
  event.preventDefault();
  runAction(form.querySelector("button"), async () => {
    const fields = new FormData(form);
    const said = document.getElementById("upload-said");
    const env = {};
    for (const line of String(fields.get("env")).split("\n").map((text) => text.trim()).filter(Boolean)) {
      const [, name, value] = /^([^=]+)=(.*)$/.exec(line) ?? [];
      if (!name) throw new RequestError("", { env: `“${line}” is not of the form NAME=value` });
      env[name.trim()] = value;
    }
    const given = String(fields.get("source_url")).trim();
    const file = fields.get("archive");
    if (!given && !file.size) throw new RequestError("", { archive: "Choose an archive, or give its address." });
    if (given && file.size) throw new RequestError("", { source_url: "Give either an archive or its address, not both." });
    const source = given || (await upload(file, said)).source_url;
    const type = String(fields.get("process_type"));
    const taken = new Set((await fetchJson("/api/v1/processes")).processes.map((process) => process.slug));
    const made = [];
    for (let number = 0; made.length < Number(fields.get("count")); number++) {
      const node = `${type}.${number}`;
      if (taken.has(`${fields.get("app")}.${node}`)) continue;
      const status = await sendJson("/create-process", { app: fields.get("app"), node, process_type: type, source_url: source, env });
      made.push(status.slug);
    }
    document.getElementById("upload").hidden = true;
    said.replaceChildren("Deployed ", ...made.flatMap((slug) => [link(slug, `/console/processes/${encodeURIComponent(slug)}`), " "]));
  });
});

if (document.getElementById("processes")) {
  await loadCurves().catch(showError);
  live(show);
}
