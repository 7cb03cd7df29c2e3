// The page of a machine: its newest sample, and its time series.

import { fetchJson, showError } from "./api.js";
import { draw, layout, line, onThemeChange, spanButtons } from "./charts.js";
import { ago, badge, bytes, figure, megabytes, number, percent, seconds, tiles, update, when } from "./dom.js";
import { live } from "./live.js";

const name = document.getElementById("main").dataset.id;
const rate = (value) => (value === null ? "–" : `${bytes(value)}/s`);
let span = 3600;
let details = null;

function show(frame) {
  const host = frame.hosts.find((row) => row.name === name);
  if (!host) return;
  const heard = host.at && new Date(frame.at) - new Date(host.at) < 10000 ? badge("reports", "good") : badge(`silent, ${ago(host.at)}`, "warning");
  update("summary", tiles([["", heard], ["CPU", figure(host, "cpu", percent)], ["load", figure(host, "load", (value) => number(value, 2))], ["memory", figure(host, "mem", megabytes)], ["storage", figure(host, "storage", megabytes)],
    ["received", figure(host, "net_received", rate)], ["sent", figure(host, "net_sent", rate)],
    host.cores ? ["each core", host.cores.map((core) => Math.round(core)).join(" ")] : null,
    host.unread.length ? ["sent but not stored", host.unread.join(", ")] : null,
    details?.clock ? ["its clock is off by", seconds(details.clock.offset)] : null, details ? ["registered", when(details.registered_at)] : null]));
}

async function course() {
  const end = Date.now() / 1000;
  try {
    const found = await fetchJson(`/hosts/${encodeURIComponent(name)}/samples?from=${end - span}&to=${end}&points=600`);
    const x = found.points.map((point) => new Date(point.time));
    const of = (figure, part) => found.points.map((point) => point[figure]?.[part] ?? null);
    const most = found.width ? [line("CPU, max", x, of("cpu", "max"), { line: { width: 0.8, dash: "dot" }, hovertemplate: "%{y:.1f} %" })] : [];
    await draw("chart", [
      line("CPU", x, of("cpu", "avg"), { hovertemplate: "%{y:.1f} %" }), ...most,
      line("memory", x, of("mem", "avg"), { yaxis: "y2", hovertemplate: "%{y:,.0f} MB" }),
      line("swap", x, of("swap", "avg"), { yaxis: "y2", hovertemplate: "%{y:,.0f} MB" }),
      line("received", x, of("net_received", "avg"), { yaxis: "y3", hovertemplate: "%{y:.3s}B/s" }), line("sent", x, of("net_sent", "avg"), { yaxis: "y3", hovertemplate: "%{y:.3s}B/s" }),
      line("read", x, of("disk_read", "avg"), { yaxis: "y4", hovertemplate: "%{y:.3s}B/s" }), line("written", x, of("disk_write", "avg"), { yaxis: "y4", hovertemplate: "%{y:.3s}B/s" }),
    ], layout({
      xaxis: { type: "date", range: [new Date((end - span) * 1000), new Date(end * 1000)], anchor: "y4" },
      yaxis: { title: { text: "CPU %" }, domain: [0.78, 1], rangemode: "tozero" }, yaxis2: { title: { text: "MB" }, domain: [0.52, 0.73], rangemode: "tozero" },
      yaxis3: { title: { text: "network/s" }, domain: [0.26, 0.47], rangemode: "tozero", tickformat: ".2s" }, yaxis4: { title: { text: "disk/s" }, domain: [0, 0.21], rangemode: "tozero", tickformat: ".2s" },
    }));
  } catch (error) { showError(error); }
}

spanButtons(document.getElementById("tools"), span, (chosen) => { span = chosen; course(); });
onThemeChange(course);
try { details = await fetchJson(`/hosts/${encodeURIComponent(name)}`); } catch (error) { showError(error); }
await course();
setInterval(course, 15000);
live(show);
