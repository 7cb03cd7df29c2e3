// The page of a process: its state and its output.

import { fetchJson, showError } from "./api.js";
import { OutputView } from "./output_view.js";
import { bytes, el, fill, number, percent, seconds, tiles, update, when } from "./dom.js";
import { live, onNews, openSocket } from "./live.js";
import { joinedMachines, programButtons, serviceOf } from "./nodes.js";
import { drawCurves, loadCurves } from "./processes.js";
import { ReconnectDeduplicator } from "./reconnect_dedup.js";
import { readiness, state } from "./states.js";

const { id: slug, node = null } = document.getElementById("main").dataset;
const output = new OutputView("console", "console-tools", { marked: true });
const head = el("div");
const curves = el("div", { class: "curves" });
fill("summary", head, curves, programButtons(slug, node));
let details = null;

async function loadDetails() {
  try { details = await fetchJson(`${serviceOf(node)}/process-status/${encodeURIComponent(slug)}`); } catch (error) { showError(error); }
}

// The use of a resource and its limit, marked if nothing enforces the limit.
function limited(used, name, shown) {
  const limit = details?.limits?.[name] ?? null;
  return limit === null ? used : `${used} of ${shown(limit)}${details.limits_enforced[name] === "none" ? " (limit not enforced)" : ""}`;
}

// A program of a node: what the node has reported, and its other figures from when something happened last.
function ofNode(frame) {
  const told = joinedMachines(frame).find((one) => one.name === node)?.activity.programs.find((one) => one.slug === slug);
  return told && { uptime: null, last_status: null, cpu: null, memory: null, next_try_at: null, ready_detail: "", ...details, ...told };
}

function show(frame) {
  const process = node ? ofNode(frame) : frame.processes.find((row) => row.slug === slug);
  if (!process) { update(head, el("p", {}, "This program was deleted.")); return; }
  const drawn = node ? null : drawCurves(process, Date.parse(frame.at) / 1000);
  if (drawn && !curves.children.length) fill(curves, [["CPU of the last 10 minutes", drawn.cpu], ["Memory of the last 10 minutes", drawn.memory]].map(([words, spark]) => el("figure", {}, el("figcaption", {}, words), spark.node)));
  update(head, el("p", {}, state(process.state), readiness(process), process.ready_detail ? ` ${process.ready_detail}` : "", process.detail ? ` ${process.detail}` : "", process.next_try_at ? el("span", {}, ", next try ", when(process.next_try_at)) : ""),
    tiles([["PID", process.pid ?? "–"], ["PORT", process.port ?? "–"], ["uptime", seconds(process.uptime)], ["restarts", number(process.restarts)],
      ["last exit status", process.last_status ?? "–"], ["CPU", limited(percent(process.cpu), "cpu", (value) => percent(100 * value))], ["memory", limited(bytes(process.memory), "memory", bytes)],
      details?.limits?.tasks ? ["task limit", number(details.limits.tasks)] : null,
      details ? ["environment", details.env?.length ? details.env.join(", ") : "none given"] : null]));
}

await loadDetails();
if (!node) await loadCurves().catch(showError);
const news = onNews(loadDetails, 1000);
live((frame) => { if (node) news(frame); show(frame); });
const lines = new ReconnectDeduplicator((added) => output.add(added));
openSocket(`${serviceOf(node)}/attach-console/${encodeURIComponent(slug)}?tail=1000&events=1&marks=1`, (line) => lines.add(line), {
  showStatus: false,
  ended: (event) => { if (event.code === 1000) { output.add("3[smartmob] the program was deleted"); return true; } output.add("3[smartmob] the connection was lost"); lines.connectionLost(); return false; },
});
