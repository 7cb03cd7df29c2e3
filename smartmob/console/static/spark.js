// A sparkline: a small curve without axes of a value over the last minutes.

import { svg } from "./dom.js";

const SPAN_SECONDS = 300;

export class Spark {
  constructor(top = 100, span = SPAN_SECONDS) {
    this.points = []; // [seconds since 1970, value], in the order of time
    this.top = top;
    this.line = svg("path");
    this.area = svg("path", { class: "area" });
    this.span = span;
    this.node = svg("svg", { class: "spark", viewBox: `0 0 ${span} 100`, preserveAspectRatio: "none", "aria-hidden": "true" }, this.area, this.line);
  }

  add(time, value) {
    const newest = this.points.at(-1)?.[0] ?? -Infinity;
    if (value !== null && value !== undefined && time > newest) this.points.push([time, value]);
  }

  // Draws the values of the minutes before `end`; without new values the curve moves to the left.
  draw(end) {
    const start = end - this.span;
    while (this.points.length && this.points[0][0] < start) this.points.shift();
    const top = Math.max(this.top, ...this.points.map(([, value]) => value));
    const drawn = this.points.map(([time, value]) => [(time - start).toFixed(1), (99 - (98 * value) / top).toFixed(1)]);
    const path = drawn.length > 1 ? drawn.map((point) => point.join(",")).join("L") : "";
    this.line.setAttribute("d", path && `M${path}`);
    this.area.setAttribute("d", path && `M${drawn[0][0]},100L${path}L${drawn.at(-1)[0]},100Z`);
  }
}

const WIDTH = 100;

// Return a small curve of some values, the last of them with a mark; null ones are left out. `words` describe it.
export function sparkline(values, words) {
  const known = values.map((one, place) => [place, one]).filter(([, one]) => one !== null);
  const top = Math.max(...known.map(([, one]) => one), Number.MIN_VALUE);
  const step = WIDTH / Math.max(1, values.length - 1);
  const points = known.map(([place, one]) => `${(place * step).toFixed(1)},${(95 - (90 * one) / top).toFixed(1)}`);
  const [x, y] = points.at(-1).split(",");
  const node = svg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} 100`, preserveAspectRatio: "none", role: "img", "aria-label": words },
    svg("path", { d: `M${points.join("L")}` }), svg("path", { class: "last", d: `M${x},${y}l0.01,0` }));
  node.prepend(svg("title", {}, words));
  return node;
}
