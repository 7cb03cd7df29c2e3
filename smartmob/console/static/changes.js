// A list of changes.

import { badge, clockTime, el, link } from "./dom.js";

export function changes(list) {
  if (!list.length) return el("p", { class: "quiet" }, "No changes.");
  return el("ol", { class: "feed" }, list.map((change) => el("li", { "data-key": `${change.at} ${change.text}` },
    el("time", { datetime: change.at }, clockTime(change.at)), badge(change.kind, change.level),
    el("span", { class: "text" }, change.href ? link(change.text, change.href) : change.text))));
}
