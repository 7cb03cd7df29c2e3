// A window on output that comes for ever: the newest lines, with search, pause and colours.

import { Painter } from "./ansi.js";
import { el, fill } from "./dom.js";

const MOST_LINES = 5000;
const AT_ONCE = 2000;

export class Console {
  constructor(place, tools) {
    this.place = document.getElementById(place);
    this.painter = new Painter();
    this.waiting = [];
    this.paused = false;
    this.wanted = "";
    this.missed = 0;
    this.open = null;
    this.pause = el("button", { class: "second", type: "button", "aria-pressed": "false", onclick: () => this.turn() }, "Pause");
    this.search = el("input", { type: "search", "aria-label": "Search the output", placeholder: "search" });
    this.search.addEventListener("input", () => this.find());
    this.said = el("span", { class: "quiet", role: "status" });
    fill(tools, this.said, this.search, this.pause,
      el("button", { class: "second", type: "button", onclick: () => { fill(this.place); this.open = null; } }, "Clear"));
    this.frame = 0;
  }

  turn() {
    this.paused = !this.paused;
    this.pause.setAttribute("aria-pressed", String(this.paused));
    this.pause.textContent = this.paused ? "Go on" : "Pause";
    if (!this.paused) this.later();
  }

  // Takes a whole line, or several in an array.
  add(lines) {
    for (const line of [lines].flat()) this.waiting.push(line);
    if (this.waiting.length > MOST_LINES) {
      this.missed += this.waiting.length - MOST_LINES;
      this.waiting.splice(0, this.waiting.length - MOST_LINES);
    }
    if (this.paused) this.said.textContent = `${this.waiting.length} lines wait`;
    else this.later();
  }

  // Takes text that may end in the middle of a line.
  write(text) {
    const parts = text.split("\n");
    if (this.open !== null) parts[0] = this.open + parts[0];
    this.open = parts.pop();
    this.add(parts.map((part) => part.replace(/\r$/, "").replace(/^.*\r(?=.)/, "")));
  }

  end() {
    if (this.open) this.add(this.open);
    this.open = null;
  }

  later() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = 0;
    if (this.paused) return;
    const follows = this.place.scrollHeight - this.place.scrollTop - this.place.clientHeight < 40;
    const lines = this.waiting.splice(0, AT_ONCE);
    const nodes = document.createDocumentFragment();
    if (this.missed) { nodes.append(el("div", { class: "note" }, `${this.missed} lines came too fast to be shown`)); this.missed = 0; }
    for (const line of lines) nodes.append(this.line(line));
    this.place.append(nodes);
    while (this.place.childElementCount > MOST_LINES) this.place.firstElementChild.remove();
    this.said.textContent = "";
    if (follows) this.place.scrollTop = this.place.scrollHeight;
    if (this.waiting.length) this.later();
  }

  line(text) {
    const node = el("div", text.startsWith("[smartmob] ") ? { class: "note" } : {}, this.painter.paint(text));
    this.mark(node);
    return node;
  }

  mark(node) {
    node.hidden = this.wanted !== "" && !node.textContent.toLowerCase().includes(this.wanted);
  }

  find() {
    this.wanted = this.search.value.trim().toLowerCase();
    let found = 0;
    for (const node of this.place.children) { this.mark(node); found += node.hidden ? 0 : 1; }
    this.said.textContent = this.wanted ? `${found} lines` : "";
  }
}
