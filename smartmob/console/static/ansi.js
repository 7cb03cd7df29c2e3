// Turns output of programs into nodes: colours and styles of escape sequences are applied, all other sequences removed.

import { el } from "./dom.js";

const SEQUENCE = /\x1b\[([0-9;]*)m|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]|[\x00-\x08\x0b-\x1f\x7f]/g;
const STYLES = { 1: "bold", 2: "dim", 3: "italic", 4: "underline" };

export class Painter {
  constructor() { this.colour = null; this.styles = new Set(); }

  // Returns a painter with the same colours, whose changes do not matter to this one.
  copy() {
    const made = new Painter();
    made.colour = this.colour;
    made.styles = new Set(this.styles);
    return made;
  }

  // Returns nodes for a piece of text; its last colour also applies to the next piece.
  paint(text) {
    const nodes = [];
    let from = 0;
    for (const match of text.matchAll(SEQUENCE)) {
      if (match.index > from) nodes.push(this.piece(text.slice(from, match.index)));
      from = match.index + match[0].length;
      if (match[1] !== undefined) this.applyCodes(match[1]);
    }
    if (from < text.length) nodes.push(this.piece(text.slice(from)));
    return nodes;
  }

  piece(text) {
    const kinds = [...this.styles];
    if (this.colour !== null) kinds.push(`c${this.colour}`);
    return kinds.length ? el("span", { class: kinds.join(" ") }, text) : document.createTextNode(text);
  }

  applyCodes(codes) {
    const numbers = codes.split(";").map(Number);
    for (let index = 0; index < numbers.length; index++) {
      const code = numbers[index];
      if (code === 0) { this.colour = null; this.styles.clear(); }
      else if (STYLES[code]) this.styles.add(STYLES[code]);
      else if (code === 22) { this.styles.delete("bold"); this.styles.delete("dim"); }
      else if (code === 23) this.styles.delete("italic");
      else if (code === 24) this.styles.delete("underline");
      else if (code >= 30 && code <= 37) this.colour = code - 30;
      else if (code >= 90 && code <= 97) this.colour = code - 90;
      else if (code === 39) this.colour = null;
      else if (code === 38 || code === 48) index += numbers[index + 1] === 5 ? 2 : 4;
    }
  }
}
