// Trends: the tests whose level changed over the history of a machine.

import { badge, el, number, table, when } from "./dom.js";
import { value } from "./values.js";
import { itemLink } from "./verdicts.js";

const share = (ratio) => (ratio >= 2 ? `${ratio.toFixed(2)} ×` : `${ratio >= 1 ? "+" : ""}${((ratio - 1) * 100).toFixed(1)} %`);

export function change(trend, unit) {
  return trend.ratio === null ? `${trend.after >= trend.before ? "+" : "−"}${value(Math.abs(trend.after - trend.before), unit)}` : share(trend.ratio);
}

export const commit = (trend) => trend.scm_ref.slice(0, 12) || trend.run.slice(0, 12);

// All tests together have no unit: their level is a factor of the usual one.
const together = (trend) => trend.item_id === null && !trend.path;
const level = (trend, found, unit) => (together(trend) ? `${number(found, 2)} ×` : value(found, unit));

function now(trend, unit) {
  if (!trend.still) return badge("over", "plain");
  const words = unit === "MB" ? ["larger", "smaller"] : ["slower", "faster"];
  return trend.direction === "more" ? badge(words[0], "bad") : badge(words[1], "good");
}

export function trendTable(found, nothing) {
  const several = found.places.length > 1;
  return el("div", {},
    el("p", {}, found.explanation),
    table([
      { name: "Since", cell: (trend) => when(trend.started_at) },
      { name: "Commit", cell: (trend) => el("span", {}, trend.change === "drift" ? "drift from " : "", el("code", {}, commit(trend))) },
      { name: "Test", wide: true, cell: (trend) => (together(trend) ? trend.item : itemLink(trend.path, trend.variant, trend.variant || trend.path, trend.item_id)) },
      ...(several ? [{ name: "Machine", cell: (trend) => trend.machine_node || "–" }] : []),
      { name: "From", right: true, cell: (trend) => level(trend, trend.before, found.unit) }, { name: "To", right: true, cell: (trend) => level(trend, trend.after, found.unit) },
      { name: "Change", right: true, cell: (trend) => change(trend, found.unit) }, { name: "Now", cell: (trend) => now(trend, found.unit) },
    ], found.trends, nothing),
    found.found > found.trends.length ? el("p", { class: "quiet" }, `${number(found.found - found.trends.length)} more changes are not shown.`) : null);
}
