// The lab as it is, each second, over one WebSocket that comes back by itself.

const LONGEST_PAUSE = 10000;

export function watch(path, handler, { status = true, ended = null } = {}) {
  let pause = 500;
  let socket = null;
  let stopped = false;

  function show(state, words) {
    if (!status) return;
    const place = document.getElementById("connection");
    if (place.dataset.state === state) return;
    place.dataset.state = state;
    place.querySelector(".words").textContent = words;
  }

  function connect() {
    socket = new WebSocket(new URL(path, location.href.replace(/^http/, "ws")));
    socket.addEventListener("message", (event) => {
      pause = 500;
      show("live", "live");
      handler(event.data);
    });
    socket.addEventListener("close", (event) => {
      if (stopped) return;
      if (ended && ended(event)) return;
      show("away", "connection lost, trying again");
      setTimeout(connect, pause);
      pause = Math.min(LONGEST_PAUSE, pause * 1.7);
    });
  }

  connect();
  addEventListener("pagehide", () => { stopped = true; socket.close(); });
  return { close() { stopped = true; socket.close(); } };
}

export function live(handler) {
  return watch("/console/live", (text) => handler(JSON.parse(text)));
}

// Calls `handler` when something has happened, but not more often than every `pause` milliseconds.
export function onNews(handler, pause = 4000) {
  let seen = null;
  let last = 0;
  return (frame) => {
    const now = Date.now();
    if (frame.news === seen || now - last < pause) return;
    if (seen !== null) handler();
    seen = frame.news;
    last = now;
  };
}
