// One job: how it is, what it writes, and what it is told.

import { act, ask, complain, Refused } from "./api.js";
import { Console } from "./console.js";
import { bytes, confirmed, el, seconds, tiles, update, when } from "./dom.js";
import { live, onNews } from "./live.js";
import { exit } from "./states.js";

const id = document.getElementById("main").dataset.id;
const output = new Console("console", "console-tools");
const input = document.getElementById("input-form");
let running = true;

async function look() {
  const job = await ask(`/jobs/${id}`);
  running = job.state === "running";
  input.hidden = !running;
  const kill = running
    ? el("div", { class: "buttons", "data-control": true },
      el("button", { class: "second", type: "button", onclick: (event) => act(event.currentTarget, () => call("signal", [Number(id), "INT"])) }, "Interrupt"),
      el("button", { class: "danger", type: "button", onclick: (event) => act(event.currentTarget, async () => { if (await confirmed(`Kill job ${id}?`, "Kill")) await call("kill", [Number(id)]); }) }, "Kill"))
    : null;
  update("summary", el("p", {}, exit(job), " ", el("code", {}, job.argv.length === 1 ? job.argv[0] : job.argv.join(" "))),
    job.error ? el("p", {}, job.error) : null,
    tiles([["began", when(job.started_at)], ["ended", job.ended_at ? when(job.ended_at) : "–"], ["in", job.cwd], ["process", job.pid ?? "–"],
      ["user time", seconds(job.user_seconds)], ["kernel time", seconds(job.system_seconds)], ["most memory", bytes(job.max_rss)], ["output", bytes(job.output_bytes)], ["by", job.client]]),
    kill);
  return job;
}

async function call(name, argument) {
  const response = await fetch(`/commands/${name}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(argument) });
  const text = await response.text();
  for (const line of text.split("\n").filter(Boolean)) {
    const said = JSON.parse(line);
    if (said.error) throw new Refused(said.error.message);
    if (said.detail) throw new Refused(said.detail);
  }
}

input.addEventListener("submit", (event) => {
  event.preventDefault();
  act(input.querySelector("button"), async () => {
    await call("send_input", [Number(id), input.line.value]);
    input.reset();
  });
});

// The output from its beginning on, and again from where it broke off.
async function follow(offset) {
  try {
    const response = await fetch(`/jobs/${id}/output?from=${offset}&follow=true`);
    if (!response.ok) throw new Error(`the service answered ${response.status}`);
    const begins = Number(response.headers.get("X-Output-From") ?? offset);
    if (begins > offset) output.add(`[smartmob] ${bytes(begins - offset)} before this are no longer kept`);
    offset = begins;
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      offset += value.length;
      output.write(decoder.decode(value, { stream: true }));
    }
    output.end();
    await look();
  } catch (error) {
    if (running) setTimeout(() => follow(offset), 1000);
    else complain(error);
  }
}

try {
  const job = await look();
  follow(job.kept_from);
} catch (error) { complain(error); }
live(onNews(() => look().catch(complain), 1000));
