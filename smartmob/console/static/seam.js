// Lines of a connection that may be lost and come back: it then begins with lines that were there before.

const KEPT = 1000;
const TOGETHER = 300;

export class Seam {
  constructor(take) {
    this.take = take;
    this.last = [];
    this.back = null;
    this.timer = 0;
  }

  add(line) {
    if (this.back === null) { this.pass([line]); return; }
    this.back.push(line);
    if (!this.timer) this.timer = setTimeout(() => this.join(), TOGETHER);
  }

  lost() {
    this.back ??= [];
  }

  join() {
    const lines = this.back;
    this.back = null;
    this.timer = 0;
    let known = Math.min(lines.length, this.last.length);
    while (known && !this.last.slice(-known).every((line, place) => line === lines[place])) known--;
    this.pass(lines.slice(known));
  }

  pass(lines) {
    this.last.push(...lines);
    if (this.last.length > 2 * KEPT) this.last.splice(0, this.last.length - KEPT);
    this.take(lines);
  }
}
