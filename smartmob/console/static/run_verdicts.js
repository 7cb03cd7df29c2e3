// The verdicts of test runs, loaded one after the other, because each is computed from the history of a machine.

import { fetchJson } from "./api.js";

const AT_ONCE = 2;
const known = new Map(); // the verdict of a run by its id, null while it is not known
const waiting = [];
let loading = 0;

// Return the verdict of a run, or null; `changed` is called when it is known. The newest wish is served first.
export function verdictOf(id, changed) {
  if (!known.has(id)) {
    known.set(id, null);
    waiting.push([id, changed]);
    next();
  }
  return known.get(id);
}

function next() {
  while (loading < AT_ONCE && waiting.length) {
    const [id, changed] = waiting.shift();
    loading++;
    fetchJson(`/api/v1/runs/${encodeURIComponent(id)}/verdict`)
      .then((found) => { known.set(id, found); changed(); }, () => {}) // a run without a verdict has none in the list
      .finally(() => { loading--; next(); });
  }
}

// Forget what is known, since new measures may have changed it.
export function forgetVerdicts() {
  known.clear();
  waiting.length = 0;
}
