// Charts in the colours of the page. Only SVG traces are used: others need eval, which the security policy forbids.

export const COLOURS = ["#3d6fe0", "#e0723d", "#2f9e6b", "#b25bd1", "#c9a227", "#d1456b", "#3aa6b9", "#8a7a5c"];

export function dark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

export function themeColours() {
  return dark()
    ? { text: "#9ba5b4", line: "#2a313c", strong: "#e7eaf0", surface: "#161a21" }
    : { text: "#565f6d", line: "#dfe3e9", strong: "#171b22", surface: "#ffffff" };
}

// A caller that gives a margin saves the library the measuring of labels, which is a third of the time of a drawing.
export function layout(further = {}) {
  const colours = themeColours();
  const axis = { gridcolor: colours.line, linecolor: colours.line, zerolinecolor: colours.line, tickcolor: colours.line, automargin: !further.margin };
  const made = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 56, r: 16, t: 8, b: 36 },
    font: { color: colours.text, size: 12, family: getComputedStyle(document.body).fontFamily },
    hovermode: "x", hoverlabel: { bgcolor: colours.surface, bordercolor: colours.line, font: { color: colours.strong } },
    legend: { orientation: "h", y: 1, yref: "container", yanchor: "top", x: 0, xref: "container" }, showlegend: true, uirevision: "same",
    ...further,
  };
  for (const name of Object.keys(made)) if (/^[xy]axis/.test(name)) made[name] = { ...axis, ...made[name] };
  for (const name of ["xaxis", "yaxis"]) made[name] ??= { ...axis };
  return made;
}

// Return the vertical axes of charts above each other, each with its title on top, where no other title reaches.
// parts: [[title, further values of the axis], …], from the top.
export function stacked(parts, gap = 0.09) {
  const colours = themeColours();
  const height = (1 - gap * (parts.length - 1)) / parts.length;
  const made = { annotations: [] };
  for (const [index, [title, further = {}]] of parts.entries()) {
    const top = 1 - index * (height + gap);
    made[index ? `yaxis${index + 1}` : "yaxis"] = { domain: [Math.max(0, top - height), top], rangemode: "tozero", nticks: 5, ...further };
    made.annotations.push({ text: title, xref: "paper", yref: "paper", x: 0, y: top, xanchor: "left", yanchor: "bottom", showarrow: false, font: { size: 12, color: colours.strong } });
  }
  return made;
}

export function line(name, x, y, further = {}) {
  // A point between two gaps would not be visible as a line.
  const missing = (value) => value === null || value === undefined;
  const lone = y.map((value, place) => !missing(value) && missing(y[place - 1]) && missing(y[place + 1]));
  const points = lone.includes(true) ? { mode: "lines+markers", marker: { size: lone.map((alone) => (alone ? 5 : 0)) } } : { mode: "lines" };
  return { type: "scatter", ...points, name, x, y, line: { width: 1.5, ...(further.line ?? {}) }, connectgaps: false, ...Object.fromEntries(Object.entries(further).filter(([key]) => key !== "line")) };
}

// The library is large: the browser fetches it with the page, and runs it when the modules of the page have run and have
// asked for their data. An inserted script never runs within them.
const library = new Promise((done, failed) => {
  if (window.Plotly) { done(); return; }
  const script = document.createElement("script");
  script.src = document.getElementById("plotly").href;
  script.addEventListener("load", done);
  script.addEventListener("error", () => failed(new Error("The chart library could not be loaded: reload the page.")));
  document.head.append(script);
});

const LEGEND_ROW_PIXELS = 20;
const LEGEND_GROUP_PIXELS = 29; // a row of entries with groups
const NARROW_PIXELS = 600;

// Returns how much space a legend takes above a chart of some width: the library tells it only when it has drawn. It
// places entries of groups one after the other, and others in columns of the same width.
export function legendPixels(traces, width) {
  const entries = traces.filter((trace) => trace.showlegend !== false);
  const widths = entries.map((trace) => 46 + 7 * trace.name.length);
  if (entries.some((trace) => trace.legendgroup)) {
    let rows = 1, used = 0;
    for (const needed of widths) {
      if (used && used + needed > width) { rows++; used = 0; }
      used += needed;
    }
    return rows * LEGEND_GROUP_PIXELS;
  }
  const sum = widths.reduce((one, other) => one + other, 0);
  const rows = sum <= width ? 1 : Math.ceil(entries.length / Math.max(1, Math.floor(width / Math.max(...widths))));
  return rows * LEGEND_ROW_PIXELS;
}

let revision = 0;

// Draws or redraws a chart; resolves to its element. The toolbar of the library is hidden: no keyboard can reach it.
// The library compares arrays by identity. Without a new revision it would not draw the values that a live page has added
// to the arrays of the drawing before.
export async function draw(place, traces, wanted) {
  const node = typeof place === "string" ? document.getElementById(place) : place;
  await library;
  // In a narrow chart there is space for few labels, and above the curves there is the legend and a title.
  const above = () => Math.max(40, 34 + legendPixels(traces, node.clientWidth - wanted.margin.l - wanted.margin.r));
  const margin = wanted.legend?.yref === "container" && wanted.showlegend ? { ...wanted.margin, t: above() } : wanted.margin;
  const xaxis = node.clientWidth < NARROW_PIXELS ? { nticks: 4, ...wanted.xaxis } : wanted.xaxis;
  await window.Plotly.react(node, traces, { ...wanted, margin, xaxis, datarevision: ++revision }, { displayModeBar: false, responsive: true, doubleClick: false });
  performance.mark("chart-drawn");
  return node;
}

// Calls `action` when the system switches between light and dark colours.
export function onThemeChange(action) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", action);
  document.documentElement.addEventListener("themechange", action);
}

// Escapes text for the library, which interprets a few tags: none of them may come from a client.
export const escapeHtml = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

export function dates(times) {
  return times.map((time) => new Date(time * 1000));
}

export function spanButtons(place, chosen, choose) {
  const all = [["5 min", 300], ["1 h", 3600], ["6 h", 21600], ["24 h", 86400], ["7 d", 604800], ["30 d", 2592000]];
  place.replaceChildren(...all.map(([words, seconds]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "second";
    button.textContent = words;
    button.setAttribute("aria-pressed", String(seconds === chosen));
    button.addEventListener("click", () => {
      for (const other of place.children) other.setAttribute("aria-pressed", String(other === button));
      choose(seconds);
    });
    return button;
  }));
}
