// The current state of the lab, once a second, over a WebSocket that reconnects by itself.

import { connectionFound, connectionLost } from "./connection.js";

const SHORTEST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10000;

export function openSocket(path, handler, { showStatus = true, ended = null } = {}) {
  let pause = SHORTEST_PAUSE_MS;
  let socket = null;
  let retry = null;
  let left = false;
  let over = false;
  let away = false;

  function connect() {
    left = false;
    const opened = new WebSocket(new URL(path, location.href.replace(/^http/, "ws")));
    socket = opened;
    opened.addEventListener("message", (event) => {
      pause = SHORTEST_PAUSE_MS;
      away = false;
      if (showStatus) connectionFound();
      handler(event.data);
    });
    opened.addEventListener("close", (event) => {
      if (left || over || opened !== socket) return;
      // Attempts to reconnect that fail are not reported again.
      if (!away) over = Boolean(ended?.(event));
      away = true;
      if (over) return;
      if (showStatus) connectionLost();
      retry = setTimeout(connect, pause);
      pause = Math.min(LONGEST_PAUSE_MS, pause * 1.7);
    });
  }

  function disconnect() {
    left = true;
    clearTimeout(retry);
    socket.close();
  }

  connect();
  // A browser may keep a page that the user left, and show it again later.
  addEventListener("pagehide", disconnect);
  addEventListener("pageshow", (event) => { if (event.persisted && !over) connect(); });
}

export function live(handler) {
  return openSocket("/console/live", (text) => handler(JSON.parse(text)));
}

// Calls `handler` when something has happened since the page was loaded, at most once every `pause` milliseconds.
export function onNews(handler, pause = 4000) {
  let seen = Number(document.body.dataset.news);
  let last = 0;
  return (frame) => {
    const now = Date.now();
    if (frame.news === seen || now - last < pause) return;
    seen = frame.news;
    last = now;
    handler();
  };
}
