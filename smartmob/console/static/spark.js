// A small curve without axes: the newest values of a figure.

import { svg } from "./dom.js";

const POINTS = 120;

export class Spark {
  constructor(values = [], top = 100) {
    this.values = values.slice(-POINTS);
    this.top = top;
    this.line = svg("path");
    this.area = svg("path", { class: "area" });
    this.node = svg("svg", { class: "spark", viewBox: `0 0 ${POINTS - 1} 100`, preserveAspectRatio: "none", "aria-hidden": "true" }, this.area, this.line);
    this.draw();
  }

  add(value) {
    this.values.push(value);
    if (this.values.length > POINTS) this.values.shift();
    this.draw();
  }

  draw() {
    const top = Math.max(this.top, ...this.values.map((value) => value ?? 0));
    const offset = POINTS - this.values.length;
    const points = this.values
      .map((value, index) => (value === null || value === undefined ? null : `${offset + index},${(99 - (98 * value) / top).toFixed(1)}`))
      .filter((point) => point);
    this.line.setAttribute("d", points.length > 1 ? `M${points.join("L")}` : "");
    const first = points[0]?.split(",")[0], last = points.at(-1)?.split(",")[0];
    this.area.setAttribute("d", points.length > 1 ? `M${first},100L${points.join("L")}L${last},100Z` : "");
  }
}
