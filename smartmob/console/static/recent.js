// The recent values of tests, for their sparklines and their usual value.

import { fetchJson } from "./api.js";
import { el } from "./dom.js";
import { sparkline } from "./spark.js";
import { value } from "./values.js";
import { caseName } from "./verdicts.js";

// A key for a test of any document: methods of two classes are two tests.
export const keyOf = (row) => (row.item_path === undefined ? `${row.path}\n${row.variant || row.item}` : `${row.item_path}\n${caseName(row)}`);

export class Recent {
  constructor(found = { unit: "s", runs: [], tests: [] }) {
    this.unit = found.unit;
    this.runs = found.runs;
    this.tests = new Map(found.tests.map((test) => [keyOf(test), test]));
  }

  of(row) {
    return this.tests.get(keyOf(row)) ?? null;
  }

  // The columns that show the usual value, and the values of the last runs.
  columns({ usual = true } = {}) {
    const last = { name: "Last runs", unsorted: true, cell: (row) => this.spark(this.of(row)) };
    return usual ? [{ name: "Usual", right: true, title: "The median of the runs before", cell: (row) => value(this.of(row)?.usual ?? null, this.unit) }, last] : [last];
  }

  spark(test) {
    const values = test?.values.filter((one) => one !== null) ?? [];
    if (values.length < 2) return null;
    return sparkline(test.values, `${values.length} runs, from ${value(values[0], this.unit)} to ${value(values.at(-1), this.unit)}`);
  }
}

// Return the values of the tests of a run and of the runs before it.
export async function recentOf(run, resource = "total_time") {
  return new Recent(await fetchJson(`/console/data/tests?run=${encodeURIComponent(run)}&resource=${resource}`));
}

// Return a list of suggestions for a field.
export function suggestions(id, values) {
  document.getElementById(id)?.remove();
  return el("datalist", { id }, [...values].map(([given, words]) => el("option", { value: given, label: words })));
}
