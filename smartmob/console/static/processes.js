// The page of programs: their list, and a form to deploy a program.

import { runAction, fetchJson, sendJson } from "./api.js";
import { bytes, confirmDialog, el, emptyState, link, number, percent, seconds, table, update } from "./dom.js";
import { live } from "./live.js";
import { readiness, state } from "./states.js";

const path = (verb, slug) => `/${verb}/${encodeURIComponent(slug)}`;

export function buttons(slug) {
  const button = (words, kind, action) => el("button", { class: kind, type: "button", onclick: (event) => runAction(event.currentTarget, action) }, words);
  return el("div", { class: "buttons", "data-control": true },
    button("Restart", "second", () => sendJson(path("restart-process", slug))),
    button("Stop", "second", async () => { if (await confirmDialog(`Stop ${slug}? It stays in the list.`, "Stop")) await sendJson(path("stop-process", slug)); }),
    button("Delete", "danger", async () => { if (await confirmDialog(`Stop ${slug} with all its child processes and delete it?`, "Delete")) await sendJson(path("delete-process", slug)); }));
}

function show(frame) {
  update("processes", table([
    { name: "Program", wide: true, cell: (row) => link(row.slug, `/console/processes/${encodeURIComponent(row.slug)}`) },
    { name: "State", cell: (row) => el("span", {}, state(row.state), readiness(row)) },
    { name: "PID", right: true, cell: (row) => row.pid ?? "–" },
    { name: "Port", right: true, cell: (row) => row.port ?? "–" },
    { name: "Uptime", right: true, cell: (row) => seconds(row.uptime) },
    { name: "Restarts", right: true, cell: (row) => number(row.restarts) },
    { name: "CPU", right: true, cell: (row) => percent(row.cpu) },
    { name: "Memory", right: true, cell: (row) => bytes(row.memory) },
    { name: "", right: true, control: true, cell: (row) => buttons(row.slug) },
  ], frame.processes, emptyState("No program is running. Deploy one below, or:", "smartmob run ./myapp")));
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
      else reject(new Error(answer.detail ?? `the service answered ${request.status}`));
    });
    request.addEventListener("error", () => reject(new Error("the upload was interrupted")));
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
      if (!name) { said.textContent = `“${line}” is not of the form NAME=value`; return; }
      env[name.trim()] = value;
    }
    let uploaded;
    try { uploaded = await upload(fields.get("archive"), said); } catch (error) { said.textContent = `Not deployed: ${error.message}`; return; }
    const type = String(fields.get("process_type"));
    const taken = new Set((await fetchJson("/api/v1/processes")).processes.map((process) => process.slug));
    const made = [];
    for (let number = 0; made.length < Number(fields.get("count")); number++) {
      const node = `${type}.${number}`;
      if (taken.has(`${fields.get("app")}.${node}`)) continue;
      const status = await sendJson("/create-process", { app: fields.get("app"), node, process_type: type, source_url: uploaded.source_url, env });
      made.push(status.slug);
    }
    document.getElementById("upload").hidden = true;
    said.replaceChildren("Deployed ", ...made.flatMap((slug) => [link(slug, `/console/processes/${encodeURIComponent(slug)}`), " "]));
  });
});

if (document.getElementById("processes")) live(show);
