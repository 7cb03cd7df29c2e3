// Shows once that the service cannot be reached, and since when; the page is dimmed until it answers again.

import { clockTime, el, seconds } from "./dom.js";

let since = null;
let timer = 0;

const age = () => seconds(Math.round((Date.now() - since) / 1000)).replace(".00", "");

// Show that the service cannot be reached; called as often as that is noticed.
export function connectionLost() {
  if (since !== null) return;
  since = Date.now();
  document.body.dataset.connection = "away";
  const passed = el("span", { "aria-hidden": "true" });
  document.getElementById("main").prepend(el("p", { id: "lost", class: "lost", role: "alert" },
    `Connection lost at ${clockTime(since)}: the values are from then. Trying again.`, passed));
  timer = setInterval(() => { passed.textContent = ` (${age()})`; }, 1000);
  status("away", "connection lost, trying again");
}

export function connectionFound() {
  if (since !== null) {
    since = null;
    clearInterval(timer);
    delete document.body.dataset.connection;
    document.getElementById("lost")?.remove();
    dispatchEvent(new Event("connection-found"));
  }
  status("live", "live");
}

function status(state, words) {
  const node = document.getElementById("connection");
  if (node.dataset.state === state) return;
  node.dataset.state = state;
  node.querySelector(".words").textContent = words;
}
