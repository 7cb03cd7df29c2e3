// The traces and the layout of the timeline: curves of machines and load tests above lanes with bars.

import { COLOURS, dates, escapeHtml, layout, legendPixels, line, themeColours } from "./charts.js";
import { MEGABYTE } from "./dom.js";
import { verdictOf } from "./run_verdicts.js";
import { level } from "./states.js";

const LEVELS = { good: "#2f9e6b", warning: "#c98a1b", bad: "#d1456b", plain: "#3d6fe0" };
const MOST_VERDICTS = 60; // newest test runs whose verdict colours their bar
const CURVE_PIXELS = 120; // of the curves of one kind, without the space for their title
const TITLE_PIXELS = 26;
const LANE_PIXELS = 24;
const NARROW_PIXELS = 600;
const NARROW_LANE_PIXELS = 34; // the name of a lane stands above its bars

// The name of a lane as people read it.
export const laneName = (lane) => lane.replace(/^process /, "program ");

const isRun = (span) => span.lane === "test runs";
const runOf = (span) => decodeURIComponent(span.href.split("/").at(-1));

// Return the spans of a document, those of test runs with the colour and the words of their verdict as far as it is known.
export function judgedSpans(document, changed) {
  const judged = new Set(document.spans.filter(isRun).sort((one, other) => Date.parse(other.start) - Date.parse(one.start)).slice(0, MOST_VERDICTS));
  return document.spans.map((span) => {
    const found = judged.has(span) ? verdictOf(runOf(span), changed) : null;
    return found ? { ...span, level: level(found.verdict), detail: `${found.word}: ${span.detail}` } : span;
  });
}

function lanesOf(spans) {
  const names = [...new Set(spans.map((span) => span.lane))];
  const order = (name) => ["test runs", "tests", "experiments", "load", "jobs"].indexOf(name) + 1 || 9;
  return names.sort((one, other) => order(one) - order(other) || one.localeCompare(other, undefined, { numeric: true }));
}

// One trace for each level: bars whose base is their start. A short one is as wide as can be seen.
function bars(spans, names, start, end, narrow) {
  return Object.entries(LEVELS).flatMap(([name, color]) => {
    const found = spans.filter((span) => span.level === name);
    if (!found.length) return [];
    return [{
      type: "bar", orientation: "h", name, showlegend: false, yaxis: "y4", width: narrow ? 0.4 : 0.7, offset: narrow ? 0.05 : undefined, marker: { color, opacity: 0.85, line: { width: 0 } },
      base: found.map((span) => new Date(span.start)), y: found.map((span) => names.indexOf(span.lane)),
      x: found.map((span) => Math.max((span.end ? Date.parse(span.end) : end * 1000) - Date.parse(span.start), (end - start) * 1.5)),
      customdata: found.map((span) => [escapeHtml(span.label), escapeHtml(span.detail), span.href]), hoverinfo: "none",
      text: found.map((span) => escapeHtml(span.label)), textposition: "inside", insidetextanchor: "start", constraintext: "inside", textangle: 0, textfont: { size: 11, color: "#fff" }, cliponaxis: true,
    }];
  });
}

const known = (value, factor) => (value === null ? null : value * factor);

function machineLines(courses) {
  const x = dates(courses.times);
  return courses.hosts.flatMap((host, index) => {
    const shared = { line: { color: COLOURS[index % COLOURS.length] }, legendgroup: host.host, hoverinfo: "skip" };
    const name = escapeHtml(host.host);
    return [
      line(name, x, host.cpu, shared),
      line(name, x, host.mem.map((value) => known(value, MEGABYTE / 1e9)), { ...shared, showlegend: false, yaxis: "y2" }),
      line(name, x, host.received.map((value, place) => (value === null ? null : value + (host.sent[place] ?? 0))), { ...shared, showlegend: false, yaxis: "y3" }),
    ];
  });
}

// A load test is one entry of the legend, which shows and hides its three lines.
function loadLines(loads) {
  return loads.flatMap((load, index) => {
    const color = COLOURS[COLOURS.length - 1 - (index % COLOURS.length)];
    const shared = { legendgroup: load.id, hoverinfo: "skip" };
    const x = dates(load.times), name = escapeHtml(load.name);
    return [
      line(name, x, load.rate, { ...shared, yaxis: "y5", line: { color } }),
      line(name, x, load.p50.map((value) => known(value, 1000)), { ...shared, showlegend: false, yaxis: "y6", line: { color } }),
      line(name, x, load.p99.map((value) => known(value, 1000)), { ...shared, showlegend: false, yaxis: "y6", line: { color, dash: "dot" } }),
    ];
  });
}

// The parts of the chart from its top, with the axis of each, and how high the chart is for them.
function partsOf(loads, lanes, narrow) {
  const curves = [["yaxis", "CPU, %"], ["yaxis2", "Memory, GB"], ["yaxis3", "Network, B/s"], ...(loads ? [["yaxis5", "Transactions/s"], ["yaxis6", "Latency, ms: p50, and p99 dotted"]] : [])];
  const lanesPixels = Math.max(1, lanes) * (narrow ? NARROW_LANE_PIXELS : LANE_PIXELS);
  const inner = curves.length * (CURVE_PIXELS + TITLE_PIXELS) + lanesPixels;
  let top = inner;
  const domains = Object.fromEntries(curves.map(([axis]) => {
    top -= TITLE_PIXELS;
    const place = [(top - CURVE_PIXELS) / inner, top / inner];
    top -= CURVE_PIXELS;
    return [axis, place];
  }));
  return { curves, domains, lanes: [0, (lanesPixels - 8) / inner], inner };
}

// Return what is drawn of a timeline document: { traces, wanted, height }.
export function timelineDrawing(document, spans, width) {
  const [start, end] = [Date.parse(document.from) / 1000, Date.parse(document.to) / 1000];
  const narrow = width < NARROW_PIXELS;
  const colours = themeColours();
  const names = lanesOf(spans);
  const loads = document.loads.length > 0;
  const parts = partsOf(loads, names.length, narrow);
  const longest = 24;
  const shown = names.map(laneName).map((name) => (name.length > longest ? `${name.slice(0, longest - 1)}…` : name));
  const axis = (name, further = {}) => ({ domain: parts.domains[name], rangemode: "tozero", fixedrange: true, nticks: 5, ...further });
  const title = ([name, words]) => ({ text: words, xref: "paper", yref: "paper", x: 0, y: parts.domains[name][1], xanchor: "left", yanchor: "bottom", showarrow: false, font: { size: 12, color: colours.strong } });
  const lane = (name, index) => ({ text: escapeHtml(name), xref: "paper", yref: "y4", x: 0, y: index - 0.02, xanchor: "left", yanchor: "bottom", showarrow: false, font: { size: 11, color: colours.text } });
  const mark = (each) => ({ x: each.at, yref: "paper", y: 1, yanchor: "bottom", xanchor: Date.parse(each.at) / 1000 > start + (end - start) * 0.7 ? "right" : "left", showarrow: false, text: escapeHtml(each.text.slice(0, narrow ? 16 : 40)), font: { size: 11, color: colours.strong } });
  const traces = [...machineLines(document.courses), ...loadLines(document.loads), ...bars(spans, names, start, end, narrow)];
  const left = narrow ? 42 : Math.max(56, 14 + 7 * Math.max(0, ...shown.map((name) => name.length)));
  const margin = { l: left, r: 16, t: Math.max(40, 34 + legendPixels(traces, width - left - 16)), b: 44 };
  const height = parts.inner + margin.t + margin.b;
  const further = loads ? { yaxis5: axis("yaxis5"), yaxis6: axis("yaxis6") } : {};
  return {
    height,
    traces,
    wanted: layout({
      margin, height,
      legend: { orientation: "h", x: 0, xref: "container", y: 1, yref: "container", yanchor: "top" },
      xaxis: { type: "date", tickangle: 0, nticks: narrow ? 4 : 0, range: [new Date(start * 1000), new Date(end * 1000)], anchor: "y4" },
      yaxis: axis("yaxis"), yaxis2: axis("yaxis2"), yaxis3: axis("yaxis3", { tickformat: "~s" }), ...further,
      yaxis4: { domain: parts.lanes, fixedrange: true, tickmode: "array", tickvals: names.map((_, index) => index), ticktext: shown.map(escapeHtml), showticklabels: !narrow, range: [names.length - 0.5, -0.5], showgrid: false, zeroline: false },
      barmode: "overlay", dragmode: "pan", hovermode: "closest", hoverdistance: 10,
      shapes: document.marks.map((each) => ({ type: "line", x0: each.at, x1: each.at, yref: "paper", y0: 0, y1: 1, line: { color: colours.strong, width: 1, dash: "dash" } })),
      annotations: [...parts.curves.map(title), ...(narrow ? shown.map(lane) : []), ...(narrow ? [] : document.marks.map(mark))],
    }),
  };
}
