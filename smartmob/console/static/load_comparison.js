// The page of two or more load tests side by side: each is compared with the first one, A.

import { fetchJson, RequestError, showError } from "./api.js";
import { badge, el, link, number, seconds, table, update, when } from "./dom.js";

const MOST_RUNS = 10; // compared on one page
const LETTERS = "ABCDEFGHIJ";
const LEVELS = { slower: "bad", "more errors": "bad", more: "bad", faster: "good", fewer: "good", same: "plain" };
const ALL = "All transactions";

// A lower rate is no success.
const level = (figure, verdict) => (figure === "rate" && verdict === "fewer" ? "bad" : figure === "rate" && verdict === "more" ? "good" : LEVELS[verdict] ?? "warning");
const value = (figure, found) => (found === null ? "–" : figure === "errors" ? `${number(found * 100, 2)} %` : figure === "rate" ? `${number(found)}/s` : seconds(found));
const signed = (found, text) => (found > 0 ? `+${text}` : text);
const change = (figure, found) => (found === null ? "–" : signed(found, figure === "errors" ? `${number(found * 100, 2)} points` : `${number(found * 100)} %`));

function verdicts(first, found) {
  const rows = [{ run: first, verdict: null, reason: "The others are compared with it." }, ...found.map((one) => ({ run: one.second, verdict: one.verdict, reason: one.reason }))];
  update("runs", table([
    { name: "", cell: (row) => LETTERS[rows.indexOf(row)] }, { name: "Load test", wide: true, cell: (row) => link(row.run.name, `/console/load/${row.run.id}`) },
    { name: "Started", cell: (row) => when(row.run.started_at) },
    { name: "Against A", cell: (row) => (row.verdict ? badge(row.verdict, LEVELS[row.verdict] ?? "warning") : "–") }, { name: "Reason", wide: true, cell: (row) => row.reason },
    { name: "", cell: (row) => (row.verdict ? link("Report", `/turret-runs/${row.run.id}/report?against=${first.id}`) : link("Report", `/turret-runs/${first.id}/report`)) },
  ], rows, ""));
}

function figures(found) {
  const rows = new Map();
  found.forEach((one, place) => {
    for (const { timer, figures } of one.timers) for (const figure of figures) {
      const key = JSON.stringify([timer, figure.figure]);
      if (!rows.has(key)) rows.set(key, { key, timer, figure: figure.figure, first: figure.first, others: [] });
      rows.get(key).others[place] = figure;
    }
  });
  const other = (row, place) => {
    const figure = row.others[place];
    if (!figure) return "–";
    const range = figure.low === null ? figure.reason : `${change(row.figure, figure.low)} … ${change(row.figure, figure.high)}`;
    return el("span", { title: figure.reason || "95 % interval of the change" }, `${value(row.figure, figure.second)} `, badge(figure.verdict, level(row.figure, figure.verdict)), el("br"), el("small", {}, `${change(row.figure, figure.change)}${range ? ` (${range})` : ""}`));
  };
  const order = [...rows.values()].sort((one, two) => (two.timer === ALL) - (one.timer === ALL));
  update("figures", table([
    { name: "Timer", wide: true, cell: (row) => row.timer }, { name: "Statistic", cell: (row) => row.figure }, { name: "A", right: true, cell: (row) => value(row.figure, row.first) },
    ...found.map((_, place) => ({ name: LETTERS[place + 1], wide: true, cell: (row) => other(row, place) })),
  ], order, "These load tests have no timer that can be compared."),
  el("p", { class: "quiet" }, "Below each value: its change against A, with the 95 % interval. Verdicts are based on batch means (one value for each span of consecutive seconds), not on two averages."));
}

async function start() {
  const ids = [...new Set((new URLSearchParams(location.search).get("runs") ?? "").split(",").filter((id) => id))];
  if (ids.length < 2 || ids.length > MOST_RUNS) throw new RequestError(`Choose two to ${MOST_RUNS} load tests to compare.`);
  const [first, ...others] = ids.map((id) => encodeURIComponent(id));
  const run = await fetchJson(`/turret-runs/${first}`);
  const found = [];
  for (const other of others) {
    found.push(await fetchJson(`/turret-runs/${first}/comparison?against=${other}`));
    verdicts(run, found);
    figures(found);
  }
}

start().catch(showError);
