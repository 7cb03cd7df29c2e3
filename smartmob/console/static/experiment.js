// The page of an experiment: its tests with their intervals, and its pairs in time above the load of the machine.

import { fetchJson, runAction, showError } from "./api.js";
import { COLOURS, dates, draw, escapeHtml, layout, line, onThemeChange, stacked, themeColours } from "./charts.js";
import { bytes, counted, el, fill, link, number, seconds, table, tiles, update, when } from "./dom.js";
import { endsOf, forest, instructionWords, ratioText, scaleOf, verdictBadge } from "./forest.js";
import { live } from "./live.js";

const id = document.getElementById("main").dataset.id;
const PAGE = 100;
const form = document.getElementById("filter-form");
const EDGE_SECONDS = 5; // of the load before and after
let details = null, shown = [], total = 0, pairs = [], load = null, chosen = null;

function remark(test) {
  if (test.witness === "instructions") return "by instructions; the clock cannot tell";
  const memory = test.memory?.verdict === "more" ? `${bytes(test.memory.difference)} more memory` : "";
  const aside = test.set_aside ? `${counted(test.set_aside, "pair")} set aside` : "";
  return [test.witness === "clock" ? "by the clock" : "", test.reason, memory, aside].filter((text) => text).join("; ");
}

const sideTile = ({ given, commit }) => [given, commit ? [el("br"), el("small", {}, commit.slice(0, 9))] : null];

function summary() {
  const { summary: found, machine, notes, min_effect: effect, seconds: took } = details;
  const [start, end] = [found.started_at, found.ended_at].map((time) => Date.parse(time) / 1000);
  const facts = ["processors", "model", "governor"].filter((name) => machine[name] !== undefined).map((name) => [name, String(machine[name])]);
  fill("summary", tiles([["", verdictBadge(found.verdict)], ["base", sideTile(found.base)], ["head", sideTile(found.head)], ["machine", found.machine ? link(found.machine, `/console/hosts/${encodeURIComponent(found.machine)}`) : "–"],
    ["began", when(found.started_at)], ["took", seconds(took)], ["tests", number(found.tests)], ["pairs", number(found.pairs)], ["smaller changes are ignored", `${number(100 * effect, 2)} %`], ...facts]),
  el("p", {}, `It ended because ${found.ended}.`), ...notes.map((note) => el("p", { class: "quiet" }, note)),
  el("p", {}, link("Machines during this experiment", `/console/timeline?from=${start - EDGE_SECONDS}&to=${end + EDGE_SECONDS}`)));
}

// Chooses the test whose pairs are drawn.
async function choose(test) {
  chosen = test?.name ?? null;
  await loadPairs();
  document.getElementById("pairs-panel").scrollIntoView({ block: "nearest" });
}

function showTests() {
  const effect = details.min_effect, scale = scaleOf(shown, effect);
  update("tests", table([
    { name: "Verdict", cell: (test) => verdictBadge(test.verdict) },
    { name: "Test", wide: true, cell: (test) => el("button", { class: "link", type: "button", title: "Show its pairs in time", onclick: () => choose(test).catch(showError) }, test.name) },
    { name: "Base", right: true, cell: (test) => seconds(test.base_seconds) }, { name: "Head", right: true, cell: (test) => seconds(test.head_seconds) },
    { name: "Time, with 95 %", right: true, cell: (test) => (test.ratio === null ? "–" : el("span", {}, ratioText(test.ratio), el("br"), el("small", {}, `${ratioText(test.low)} to ${ratioText(test.high)}`))) },
    { name: "Interval", wide: true, unsorted: true, cell: (test) => forest(test, scale, effect) },
    { name: "Instructions", right: true, cell: (test) => instructionWords(test.instructions) }, { name: "Pairs", right: true, cell: (test) => number(test.pairs) }, { name: "Remark", wide: true, cell: remark },
  ], shown, "No test matches.", { filter: false }),
  shown.length ? el("p", { class: "quiet" }, `Intervals are drawn from ${endsOf(scale)}, with a band for the changes of ${number(100 * effect, 2)} % that do not count. A circle is the time by the clock with its interval, dashed where there is no bound yet; a diamond is the number of instructions.`) : null,
  shown.length < total ? el("p", {}, `${number(shown.length)} of ${number(total)} tests. `, el("button", { type: "button", class: "link", onclick: (event) => runAction(event.currentTarget, () => loadTests(shown.length)) }, "Show more")) : null);
}

async function loadTests(offset) {
  const query = new URLSearchParams({ limit: PAGE, offset, name: form.elements.name.value });
  if (form.elements.verdict.value) query.set("verdict", form.elements.verdict.value);
  const page = await fetchJson(`/experiments/${id}/tests?${query}`);
  shown = offset ? [...shown, ...page.tests] : page.tests;
  total = page.total;
  showTests();
}

async function loadPairs() {
  const query = chosen === null ? "" : `?${new URLSearchParams({ test: chosen })}`;
  pairs = (await fetchJson(`/experiments/${id}/pairs${query}`)).pairs;
  await showPairs();
}

// The samples of the machine meanwhile; null where it has reported none under this name.
async function loadOf(machine, start, end) {
  if (!machine) return null;
  try {
    const found = await fetchJson(`/hosts/${encodeURIComponent(machine)}/samples?from=${start}&to=${end}&points=600`);
    return found.points.length ? found.points : null;
  } catch { return null; }
}

// Other programs as the experiment has measured them: those that took most, as steps over the pairs.
function otherLines(begin) {
  const sums = new Map();
  for (const pair of pairs) for (const [name, share] of Object.entries(pair.others)) sums.set(name, (sums.get(name) ?? 0) + share * pair.seconds);
  const names = [...sums].sort(([, one], [, other]) => other - one).slice(0, 4).map(([name]) => name);
  return names.map((name, index) => line(escapeHtml(name), dates(pairs.flatMap((pair) => [begin + pair.at, begin + pair.at + pair.seconds])), pairs.flatMap((pair) => [100 * (pair.others[name] ?? 0), 100 * (pair.others[name] ?? 0)]),
    { yaxis: "y2", line: { color: COLOURS[2 + index] }, hovertemplate: "%{y:.0f} %" }));
}

async function showPairs() {
  const { summary: found, min_effect: effect } = details;
  const begin = Date.parse(found.started_at) / 1000, end = Date.parse(found.ended_at) / 1000;
  document.getElementById("chart").hidden = !pairs.length;
  fill("pairs-words", pairs.length ? `${chosen === null ? "The median of all tests in each pair" : chosen}. A pair is one run of each side; in half of the pairs head ran first. Below: the load of the machine, ${load ? "from its samples, " : "which has reported no samples meanwhile, "}and the processors that other programs took, as the experiment has measured them (100 % is one processor).` : "There was no pair.",
    chosen === null ? null : [" ", el("button", { class: "link", type: "button", onclick: () => choose(null).catch(showError) }, "All tests")]);
  if (!pairs.length) return;
  const middle = (pair) => begin + pair.at + pair.seconds / 2;
  const points = (first, words, color) => {
    const rows = pairs.filter((pair) => pair.first === first && pair.ratio !== null);
    return { type: "scatter", mode: "markers", name: words, x: dates(rows.map(middle)), y: rows.map((pair) => pair.ratio), marker: { color, size: 8, symbol: first === "base" ? "circle" : "diamond-open" }, customdata: rows.map((pair) => pair.number), hovertemplate: "pair %{customdata}: ×%{y:.3f}<extra></extra>" };
  };
  const cpu = load ? [line("CPU of the machine", load.map((point) => new Date(point.time)), load.map((point) => point.cpu?.avg ?? null), { yaxis: "y2", line: { color: themeColours().text }, hovertemplate: "%{y:.1f} %" })] : [];
  const across = (y, dash) => ({ type: "line", xref: "paper", x0: 0, x1: 1, yref: "y", y0: y, y1: y, line: { color: themeColours().strong, width: 1, dash } });
  await draw("chart", [points("base", "base ran first", COLOURS[0]), points("head", "head ran first", COLOURS[1]), ...cpu, ...otherLines(begin)], layout({
    xaxis: { type: "date", range: dates([begin - EDGE_SECONDS, end + EDGE_SECONDS]), anchor: "y2" }, hovermode: "closest",
    shapes: [across(1, "solid"), across(1 + effect, "dot"), across(1 / (1 + effect), "dot")],
    margin: { l: 56, r: 16, t: 76, b: 40 }, ...stacked([["Time of head / base", { rangemode: "normal" }], ["Load, %"]], 0.14),
  }));
}

form.addEventListener("submit", (event) => { event.preventDefault(); loadTests(0).catch(showError); });
form.elements.verdict.addEventListener("change", () => loadTests(0).catch(showError));

async function start() {
  details = await fetchJson(`/experiments/${id}`);
  summary();
  await loadTests(0);
  const found = details.summary;
  load = await loadOf(found.machine, Date.parse(found.started_at) / 1000 - EDGE_SECONDS, Date.parse(found.ended_at) / 1000 + EDGE_SECONDS);
  await loadPairs();
}

onThemeChange(() => (details && pairs.length ? showPairs() : null));
start().catch(showError);
live(() => {});
