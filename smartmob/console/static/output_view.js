// A view of continuous output: its newest lines, with search, pause and colours.

import { Painter } from "./ansi.js";
import { counted, el, fill } from "./dom.js";

const MAX_LINES = 5000;
const LINES_PER_FRAME = 2000;
const LONGEST_LINE = 100000;

export class OutputView {
  constructor(place, tools, { marked = false } = {}) {
    this.marked = marked;
    this.place = document.getElementById(place);
    this.painter = new Painter();
    this.waiting = [];
    this.paused = false;
    this.searched = "";
    this.skipped = 0;
    this.open = null;
    this.openNode = null;
    this.pause = el("button", { class: "second", type: "button", "aria-pressed": "false", onclick: () => this.togglePause() }, "Pause");
    this.search = el("input", { type: "search", "aria-label": "Search the output", placeholder: "search" });
    this.search.addEventListener("input", () => this.searchAll());
    this.status = el("span", { class: "quiet", role: "status" });
    fill(tools, this.status, this.search, this.pause,
      el("button", { class: "second", type: "button", onclick: () => { fill(this.place); this.open = this.openNode = null; } }, "Clear"));
    this.frame = 0;
  }

  togglePause() {
    this.paused = !this.paused;
    this.pause.setAttribute("aria-pressed", String(this.paused));
    this.pause.textContent = this.paused ? "Resume" : "Pause";
    if (!this.paused) this.scheduleDraw();
  }

  // Adds a whole line, or several in an array.
  add(lines) {
    for (const line of [lines].flat()) this.waiting.push(line);
    if (this.waiting.length > MAX_LINES) {
      this.skipped += this.waiting.length - MAX_LINES;
      this.waiting.splice(0, this.waiting.length - MAX_LINES);
    }
    if (this.paused) this.status.textContent = `${counted(this.waiting.length, "line")} waiting`;
    else this.scheduleDraw();
  }

  // Adds text that may end in the middle of a line; what has come of that line, as a prompt, is shown too.
  write(text) {
    const parts = text.split("\n");
    if (this.open !== null) parts[0] = this.open + parts[0];
    this.open = visible(parts.pop());
    if (this.open.length > LONGEST_LINE) { parts.push(this.open); this.open = ""; }
    this.add(parts.map((part) => visible(part.replace(/\r$/, ""))));
  }

  end() {
    if (this.open) this.add(this.open);
    this.open = null;
  }

  scheduleDraw() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = 0;
    if (this.paused) return;
    const follows = this.place.scrollHeight - this.place.scrollTop - this.place.clientHeight < 40;
    const lines = this.waiting.splice(0, LINES_PER_FRAME);
    const nodes = document.createDocumentFragment();
    if (this.openNode) this.openNode.remove();
    this.openNode = null;
    if (this.skipped) { nodes.append(el("div", { class: "note" }, `${counted(this.skipped, "line")} skipped because they came too fast`)); this.skipped = 0; }
    for (const line of lines) nodes.append(this.line(line));
    if (this.open && !this.waiting.length) {
      // Its end may change the colours again, so the painter of whole lines stays as it is.
      const painter = this.painter;
      this.painter = painter.copy();
      nodes.append(this.openNode = this.line(this.open));
      this.painter = painter;
    }
    this.place.append(nodes);
    while (this.place.childElementCount > MAX_LINES) this.place.firstElementChild.remove();
    this.status.textContent = "";
    if (follows) this.place.scrollTop = this.place.scrollHeight;
    if (this.waiting.length) this.scheduleDraw();
  }

  // With `marked`, the first character of a line is its source: 1 standard output, 2 standard error, 3 about the process.
  line(text) {
    const source = this.marked ? text[0] : text.startsWith("[smartmob] ") ? "3" : "1";
    const shown = this.painter.paint(this.marked ? text.slice(1) : text);
    const node = el("div", source === "3" ? { class: "note" } : source === "2" ? { class: "stderr", title: "standard error" } : {}, shown);
    this.applySearch(node);
    return node;
  }

  applySearch(node) {
    node.hidden = this.searched !== "" && !node.textContent.toLowerCase().includes(this.searched);
  }

  searchAll() {
    this.searched = this.search.value.trim().toLowerCase();
    let found = 0;
    for (const node of this.place.children) { this.applySearch(node); found += node.hidden ? 0 : 1; }
    this.status.textContent = this.searched ? counted(found, "line") : "";
  }
}

// Returns what a terminal shows of a line: a carriage return overwrites what is before it.
function visible(line) {
  return line.replace(/^.*\r(?=.)/, "");
}
