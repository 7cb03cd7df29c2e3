// The page of the search over all features.

import { fetchJson, showError } from "./api.js";
import { el, fill, link } from "./dom.js";
import { live } from "./live.js";

const text = new URLSearchParams(location.search).get("q") ?? "";
document.querySelector("#search-form input").value = text;

function show(found) {
  fill("found", found.groups.length ? found.groups.map((group) => el("section", { class: "panel" },
    el("h2", {}, group.kind),
    el("ul", { class: "found" }, group.entries.map((entry) => el("li", {}, link(entry.name, entry.href), " ", el("span", { class: "quiet" }, entry.detail)))),
    group.more ? el("p", { class: "quiet" }, "More names match: search for a longer part of the name.") : null))
    : el("p", { class: "quiet" }, text.trim() ? `No name contains “${text}”.` : "Enter a part of a name."));
}

fetchJson(`/console/data/search?q=${encodeURIComponent(text)}`).then(show, showError);
live(() => {});
