// One test over time.

import { ask, complain } from "./api.js";
import { COLOURS, draw, escaped, layout, redraw } from "./charts.js";
import { el, fill, link, number, percent, seconds, table, when } from "./dom.js";
import { live } from "./live.js";

const asked = new URLSearchParams(location.search);
let rows = [];

async function chart() {
  const contexts = [...new Set(rows.map((row) => row.context_h))];
  const changed = rows.filter((row, index) => index && row.context_h !== rows[index - 1].context_h);
  await draw("chart", contexts.map((context, index) => {
    const own = rows.filter((row) => row.context_h === context);
    return { type: "scatter", mode: "markers+lines", name: escaped(own[0].machine_node ?? context.slice(0, 8)), x: own.map((row) => row.started_at), y: own.map((row) => row.total_time * 1000),
      marker: { size: 6, color: COLOURS[index % COLOURS.length] }, line: { width: 1, color: COLOURS[index % COLOURS.length] }, customdata: own.map((row) => escaped(row.scm_ref?.slice(0, 12) ?? "–")), hovertemplate: "%{y:.3f} ms, commit %{customdata}" };
  }), layout({ xaxis: { type: "date" }, yaxis: { title: { text: "ms" }, rangemode: "tozero" }, hovermode: "closest",
    shapes: changed.map((row) => ({ type: "line", x0: row.started_at, x1: row.started_at, yref: "paper", y0: 0, y1: 1, line: { width: 1, dash: "dot" } })) }));
}

async function show() {
  const variant = asked.get("variant") ?? "", path = asked.get("path");
  const found = await ask(`/api/v1/items/${encodeURIComponent(variant)}/history?limit=1000`);
  rows = (found?.history ?? []).filter((row) => !path || row.item_path === path).reverse();
  await chart();
  fill("executions", table([
    { name: "Began", cell: (row) => when(row.started_at) }, { name: "Commit", cell: (row) => el("code", {}, row.scm_ref?.slice(0, 12) || "–") }, { name: "Machine", cell: (row) => row.machine_node ?? "–" },
    { name: "Session", cell: (row) => link(row.session_h.slice(0, 12), `/console/tests/runs/${encodeURIComponent(row.session_h)}`) },
    { name: "Time", right: true, cell: (row) => seconds(row.total_time) }, { name: "CPU", right: true, cell: (row) => percent(row.cpu_usage === null ? null : row.cpu_usage * 100) }, { name: "Memory", right: true, cell: (row) => (row.mem_usage === null ? "–" : `${number(row.mem_usage)} MB`) },
  ], [...rows].reverse().slice(0, 200), "It was never executed."));
}

redraw(() => chart().catch(complain));
show().catch(complain);
live(() => {});
