// The frame of each page: the colours, keyboard shortcuts, and the link to share a view.

import { runAction, sendJson } from "./api.js";
import { el } from "./dom.js";

const SHARED_SECONDS = 7 * 86400;

const PLACES = { o: ["Overview", "/console/"], i: ["Timeline", "/console/timeline"], t: ["Tests", "/console/tests"], p: ["Programs", "/console/processes"],
  j: ["Jobs", "/console/commands"], l: ["Load", "/console/load"], m: ["Machines", "/console/hosts"], a: ["Alerts", "/console/alerts"] };

const theme = document.getElementById("theme");
theme.value = document.documentElement.dataset.theme ?? "system";
theme.addEventListener("change", () => {
  const chosen = theme.value === "system" ? null : theme.value;
  if (chosen) document.documentElement.dataset.theme = chosen;
  else delete document.documentElement.dataset.theme;
  try { if (chosen) localStorage.setItem("smartmob-theme", chosen); else localStorage.removeItem("smartmob-theme"); } catch { /* the browser stores nothing */ }
  document.documentElement.dispatchEvent(new Event("themechange"));
});

function open(title, ...parts) {
  const dialog = el("dialog", { "aria-label": title }, el("h2", {}, title), ...parts,
    el("form", { method: "dialog", class: "buttons" }, el("button", { class: "second" }, "Close")));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

function showKeys() {
  if (document.querySelector("dialog[open]")) return;
  const keys = [["/", "Search"], ["?", "These keys"], ["Esc", "Close"], ...Object.entries(PLACES).map(([key, [name]]) => [`g ${key}`, `Go to ${name}`])];
  open("Keyboard", el("dl", { class: "keys" }, keys.flatMap(([key, words]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, words)])));
}

document.getElementById("keys").addEventListener("click", showKeys);
let waits = false;
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, dialog, [contenteditable]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const goes = waits ? PLACES[event.key] : null;
  waits = !waits && event.key === "g";
  if (goes) location.assign(goes[1]);
  else if (event.key === "/") { event.preventDefault(); document.querySelector(".search input").focus(); }
  else if (event.key === "?") showKeys();
});

// Without tokens the address of the view is the link. With tokens, a new one that can only read is a part of the link,
// behind the #: browsers send that to no server.
async function share() {
  const view = location.pathname + location.search + location.hash;
  let address = location.href, words = "Anyone who can reach this service can open this link. No token is set, so they can also change things.", title = "Link to this view";
  if (document.body.dataset.signedIn) {
    const name = `shared-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
    const made = await sendJson("/tokens", { name, role: "read", seconds: SHARED_SECONDS });
    address = `${location.origin}/login?next=${encodeURIComponent(view)}#${made.token}`;
    title = "A read-only link to this view";
    words = `This link opens all pages for 7 days and can change nothing. To revoke it at once: smartmob token revoke ${name}`;
  }
  const field = el("input", { readonly: true, value: address, "aria-label": "Link" });
  open(title, el("p", {}, words), field);
  field.focus();
  field.select();
}

const button = document.getElementById("share");
button?.addEventListener("click", () => runAction(button, share));
