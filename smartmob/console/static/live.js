// The lab as it is, each second, over one WebSocket that comes back by itself.

const SHORTEST_PAUSE = 500;
const LONGEST_PAUSE = 10000;

export function watch(path, handler, { status = true, ended = null } = {}) {
  let pause = SHORTEST_PAUSE;
  let socket = null;
  let again = null;
  let left = false;
  let over = false;

  function show(state, words) {
    if (!status) return;
    const place = document.getElementById("connection");
    if (place.dataset.state === state) return;
    place.dataset.state = state;
    place.querySelector(".words").textContent = words;
  }

  function connect() {
    left = false;
    const opened = new WebSocket(new URL(path, location.href.replace(/^http/, "ws")));
    socket = opened;
    opened.addEventListener("message", (event) => {
      pause = SHORTEST_PAUSE;
      show("live", "live");
      handler(event.data);
    });
    opened.addEventListener("close", (event) => {
      if (left || over || opened !== socket) return;
      over = Boolean(ended?.(event));
      if (over) return;
      show("away", "connection lost, trying again");
      again = setTimeout(connect, pause);
      pause = Math.min(LONGEST_PAUSE, pause * 1.7);
    });
  }

  function leave() {
    left = true;
    clearTimeout(again);
    socket.close();
  }

  connect();
  // A browser may keep a page that was left, and show it again as it was.
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => { if (event.persisted && !over) connect(); });
}

export function live(handler) {
  return watch("/console/live", (text) => handler(JSON.parse(text)));
}

// Calls `handler` when something has happened since the page was made, but not more often than every `pause` milliseconds.
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
