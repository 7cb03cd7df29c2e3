// The page of a process: its state and its output.

import { fetchJson, showError } from "./api.js";
import { OutputView } from "./output_view.js";
import { bytes, el, fill, number, percent, seconds, tiles, update, when } from "./dom.js";
import { live, openSocket } from "./live.js";
import { buttons, drawCurves, loadCurves } from "./processes.js";
import { ReconnectDeduplicator } from "./reconnect_dedup.js";
import { readiness, state } from "./states.js";

const slug = document.getElementById("main").dataset.id;
const output = new OutputView("console", "console-tools", { marked: true });
const head = el("div");
const curves = el("div", { class: "curves" });
fill("summary", head, curves, buttons(slug));
let details = null;

async function loadDetails() {
  try { details = await fetchJson(`/process-status/${encodeURIComponent(slug)}`); } catch (error) { showError(error); }
}

// What is used, and its limit, marked where nothing enforces it.
function limited(used, name, shown) {
  const limit = details?.limits?.[name] ?? null;
  return limit === null ? used : `${used} of ${shown(limit)}${details.limits_enforced[name] === "none" ? " (not limited)" : ""}`;
}

function show(frame) {
  const process = frame.processes.find((row) => row.slug === slug);
  if (!process) { update(head, el("p", {}, "This program was deleted.")); return; }
  const drawn = drawCurves(process, Date.parse(frame.at) / 1000);
  if (!curves.children.length) fill(curves, [["CPU of the last 10 minutes", drawn.cpu], ["Memory of the last 10 minutes", drawn.memory]].map(([words, spark]) => el("figure", {}, el("figcaption", {}, words), spark.node)));
  update(head, el("p", {}, state(process.state), readiness(process), process.ready_detail ? ` ${process.ready_detail}` : "", process.detail ? ` ${process.detail}` : "", process.next_try_at ? el("span", {}, ", next try ", when(process.next_try_at)) : ""),
    tiles([["PID", process.pid ?? "–"], ["PORT", process.port ?? "–"], ["uptime", seconds(process.uptime)], ["restarts", number(process.restarts)],
      ["last exit status", process.last_status ?? "–"], ["CPU", limited(percent(process.cpu), "cpu", (value) => percent(100 * value))], ["memory", limited(bytes(process.memory), "memory", bytes)],
      details?.limits?.tasks ? ["most tasks", number(details.limits.tasks)] : null,
      details ? ["environment", details.env?.length ? details.env.join(", ") : "none given"] : null]));
}

await loadDetails();
await loadCurves().catch(showError);
live(show);
const lines = new ReconnectDeduplicator((added) => output.add(added));
openSocket(`/attach-console/${encodeURIComponent(slug)}?tail=1000&events=1&marks=1`, (line) => lines.add(line), {
  showStatus: false,
  ended: (event) => { if (event.code === 1000) { output.add("3[smartmob] the program was deleted"); return true; } output.add("3[smartmob] the connection was lost"); lines.connectionLost(); return false; },
});
