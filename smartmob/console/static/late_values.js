// Values of rows that are loaded after the list, a few at a time, because each takes the service a while.

import { fetchJson } from "./api.js";

const AT_ONCE = 2;

export class LateValues {
  constructor(pathOf) {
    this.pathOf = pathOf;
    this.forget();
  }

  // Returns the value of a row, or null; `changed` is called when it is known.
  of(id, changed) {
    if (!this.known.has(id)) {
      this.known.set(id, null);
      this.waiting.push([id, changed]);
      this.next();
    }
    return this.known.get(id);
  }

  next() {
    const { known } = this;
    while (this.loading < AT_ONCE && this.waiting.length) {
      const [id, changed] = this.waiting.shift();
      this.loading++;
      fetchJson(this.pathOf(encodeURIComponent(id)))
        .then((found) => { known.set(id, found); changed(); }, () => {}) // a row without a value has none in the list
        .finally(() => { this.loading--; this.next(); });
    }
  }

  // Forgets what is known, since new measures may have changed it.
  forget() {
    this.known = new Map();
    this.waiting = [];
    this.loading ??= 0;
  }
}
