// Removes repeated lines after a reconnect: the server then sends its last lines again, most of which are known.

const KEPT_LINES = 1000;
const GATHER_MILLISECONDS = 300; // in which the repeated lines of a new connection arrive

export class ReconnectDeduplicator {
  constructor(onLines) {
    this.onLines = onLines;
    this.lastLines = [];
    this.gathered = null; // lines since a reconnect, null while nothing is to be compared
    this.timer = 0;
  }

  add(line) {
    if (this.gathered === null) { this.deliver([line]); return; }
    this.gathered.push(line);
    if (!this.timer) this.timer = setTimeout(() => this.deduplicate(), GATHER_MILLISECONDS);
  }

  connectionLost() {
    this.gathered ??= [];
  }

  // Delivers the gathered lines without the longest beginning that equals the end of the known lines.
  deduplicate() {
    const lines = this.gathered;
    this.gathered = null;
    this.timer = 0;
    let overlap = Math.min(lines.length, this.lastLines.length);
    while (overlap && !this.lastLines.slice(-overlap).every((line, index) => line === lines[index])) overlap--;
    this.deliver(lines.slice(overlap));
  }

  deliver(lines) {
    this.lastLines.push(...lines);
    if (this.lastLines.length > 2 * KEPT_LINES) this.lastLines.splice(0, this.lastLines.length - KEPT_LINES);
    this.onLines(lines);
  }
}
