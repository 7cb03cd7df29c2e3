// One program: how it is, and what it writes.

import { ask, complain } from "./api.js";
import { Console } from "./console.js";
import { bytes, el, fill, number, percent, seconds, tiles, update, when } from "./dom.js";
import { live, watch } from "./live.js";
import { buttons } from "./processes.js";
import { Seam } from "./seam.js";
import { state } from "./states.js";

const slug = document.getElementById("main").dataset.id;
const output = new Console("console", "console-tools");
const head = el("div");
fill("summary", head, buttons(slug));
let details = null;

async function look() {
  try { details = await ask(`/process-status/${encodeURIComponent(slug)}`); } catch (error) { complain(error); }
}

function show(frame) {
  const process = frame.processes.find((row) => row.slug === slug);
  if (!process) { update(head, el("p", {}, "This program is no more.")); return; }
  update(head, el("p", {}, state(process.state), process.detail ? ` ${process.detail}` : "", process.next_try_at ? el("span", {}, ", next try ", when(process.next_try_at)) : ""),
    tiles([["process", process.pid ?? "–"], ["PORT", process.port ?? "–"], ["up", seconds(process.uptime)], ["restarts", number(process.restarts)],
      ["last exit status", process.last_status ?? "–"], ["CPU", percent(process.cpu)], ["memory", bytes(process.memory)],
      details ? ["environment", details.env?.length ? details.env.join(", ") : "none given"] : null]));
}

await look();
live(show);
const lines = new Seam((added) => output.add(added));
watch(`/attach-console/${encodeURIComponent(slug)}?tail=1000&events=1`, (line) => lines.add(line), {
  status: false,
  ended: (event) => { if (event.code === 1000) { output.add("[smartmob] the program was deleted"); return true; } output.add("[smartmob] the connection was lost"); lines.lost(); return false; },
});
