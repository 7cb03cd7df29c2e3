// A list of changes.

import { badge, clockTime, el, link } from "./dom.js";

// The words of kinds that have another key.
const WORDS = { process: "program", host: "machine" };

export function changes(list) {
  if (!list.length) return el("p", { class: "quiet" }, "No changes.");
  return el("ol", { class: "feed" }, list.map((change) => el("li", { "data-key": `${change.at} ${change.text}` },
    el("time", { datetime: change.at }, clockTime(change.at)), badge(WORDS[change.kind] ?? change.kind, change.level),
    el("span", { class: "text" }, change.href ? link(change.text, change.href) : change.text))));
}
