// The page of a job: its state, its output, and its input.

import { runAction, fetchJson, showError, RequestError } from "./api.js";
import { OutputView } from "./output_view.js";
import { bytes, confirmDialog, el, seconds, tiles, update, when } from "./dom.js";
import { live, onNews } from "./live.js";
import { serviceOf } from "./nodes.js";
import { exitBadge } from "./states.js";

const { id, node = null } = document.getElementById("main").dataset;
const service = serviceOf(node);
const output = new OutputView("console", "console-tools");
const input = document.getElementById("input-form");
let running = true;
let received = 0;

let job = null;

// The running time of the job.
const elapsed = () => seconds(Math.max(0, ((job.ended_at ? Date.parse(job.ended_at) : Date.now()) - Date.parse(job.started_at)) / 1000));

async function refresh() {
  job = await fetchJson(`${service}/jobs/${id}`);
  show();
  return job;
}

function show() {
  running = job.state === "running";
  input.hidden = !running;
  const kill = running
    ? el("div", { class: "buttons", "data-control": true },
      el("button", { class: "second", type: "button", onclick: (event) => runAction(event.currentTarget, () => call("signal", [Number(id), "INT"])) }, "Interrupt"),
      el("button", { class: "danger", type: "button", onclick: (event) => runAction(event.currentTarget, async () => { if (await confirmDialog(`Kill job ${id}?`, "Kill")) await call("kill", [Number(id)]); }) }, "Kill"))
    : null;
  update("summary", el("p", {}, exitBadge(job), " ", el("code", {}, job.argv.length === 1 ? job.argv[0] : job.argv.join(" "))),
    job.error ? el("p", {}, job.error) : null,
    tiles([["started", when(job.started_at)], [running ? "elapsed" : "duration", elapsed()], job.ended_at ? ["ended", when(job.ended_at)] : null, ["folder", job.cwd], ["PID", job.pid ?? "–"],
      ["user time", seconds(job.user_seconds)], ["kernel time", seconds(job.system_seconds)], ["peak memory", bytes(job.max_rss)], ["output", bytes(size())], ["client", job.client]]),
    kill);
}

// The length of the output so far: what the page has read of it may be newer than the record.
const size = () => Math.max(job.output_bytes, received);

async function call(name, argument) {
  const response = await fetch(`${service}/commands/${name}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(argument) });
  const text = await response.text();
  for (const line of text.split("\n").filter(Boolean)) {
    const answer = JSON.parse(line);
    if (answer.error) throw new RequestError(answer.error.message);
    if (answer.detail) throw new RequestError(answer.detail);
  }
}

input.addEventListener("submit", (event) => {
  event.preventDefault();
  runAction(input.querySelector("button"), async () => {
    await call("send_input", [Number(id), input.line.value]);
    input.reset();
  });
});

// Reads the output from `offset` on, and after a lost connection from where it stopped.
async function follow(offset) {
  try {
    const response = await fetch(`${service}/jobs/${id}/output?from=${offset}&follow=true`);
    if (!response.ok) throw new Error(`the service answered ${response.status}`);
    const begins = Number(response.headers.get("X-Output-From") ?? offset);
    if (begins > offset) output.add(`[smartmob] ${bytes(begins - offset)} before this are no longer stored`);
    offset = begins;
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      offset += value.length;
      received = offset;
      output.write(decoder.decode(value, { stream: true }));
    }
    output.end();
    await refresh();
  } catch (error) {
    if (running) setTimeout(() => follow(offset), 1000);
    else showError(error);
  }
}

try {
  await refresh();
  follow(job.kept_from);
} catch (error) { showError(error); }
const news = onNews(() => refresh().catch(showError), 1000);
live((frame) => { news(frame); if (running && job) show(); });
