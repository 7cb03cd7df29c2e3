// One moment of the timeline: the values of all curves then, and the tests, programs, jobs and load tests that were active.

import { changes } from "./changes.js";
import { bytes, clockTime, el, link, megabytes, number, percent, seconds, table, when } from "./dom.js";
import { laneName } from "./timeline_chart.js";

const MOST_NAMES = 4; // of a kind in the small card at the pointer
const LOAD_SECONDS = 30; // from the next point of a load test: farther away it was not on

const KINDS = [["tests", "Tests"], ["process", "Programs"], ["jobs", "Jobs"], ["load", "Load tests"], ["test runs", "Test runs"]];
const kindOf = (span) => (span.lane.startsWith("process ") ? "process" : span.lane);

function placeOf(times, moment) {
  let index = times.length - 1;
  while (index > 0 && times[index] > moment) index--;
  return index;
}

// Return what there was at a moment: { index, on, loads }; `index` is the place in the courses, -1 if no machine reported.
export function happenings(found, spans, moment) {
  const { times, width } = found.courses;
  const index = placeOf(times, moment);
  const at = moment * 1000;
  return {
    index: times.length && Math.abs(times[index] - moment) <= Math.max(2 * width, 5) ? index : -1,
    on: spans.filter((span) => Date.parse(span.start) <= at && (span.end === null || Date.parse(span.end) >= at)),
    loads: found.loads.map((load) => [load, placeOf(load.times, moment)]).filter(([load, place]) => load.times.length && Math.abs(load.times[place] - moment) < LOAD_SECONDS),
  };
}

const few = (words) => (words.length > MOST_NAMES ? `${words.slice(0, MOST_NAMES).join(", ")} and ${words.length - MOST_NAMES} more` : words.join(", "));

// The small card beside the pointer.
export function card(found, spans, moment) {
  const { index, on, loads } = happenings(found, spans, moment);
  const machines = index < 0 ? [] : found.courses.hosts.filter((host) => host.cpu[index] !== null).map((host) => `${host.host} ${percent(host.cpu[index])}`);
  const rows = [["Machines", machines], ...KINDS.map(([kind, words]) => [words, on.filter((span) => kindOf(span) === kind).map((span) => span.label)])];
  return [el("b", {}, clockTime(moment * 1000)),
    el("dl", {}, rows.filter(([, words]) => words.length).map(([name, words]) => [el("dt", {}, name), el("dd", {}, few(words))]),
      loads.map(([load, place]) => [el("dt", {}, "Load"), el("dd", {}, `${load.name}: ${number(load.rate[place])}/s, p99 ${seconds(load.p99[place])}`)]))];
}

// Changes of the same topic are one line with their number.
function together(list) {
  const counts = new Map();
  for (const change of list) if (change.topic) counts.set(change.topic, (counts.get(change.topic) ?? 0) + 1);
  const told = new Set();
  return list.flatMap((change) => {
    const count = counts.get(change.topic) ?? 1;
    if (count < 4) return [change];
    if (told.has(change.topic)) return [];
    told.add(change.topic);
    return [{ ...change, text: `${change.text} (and ${count - 1} more of its events)` }];
  });
}

// The whole panel below the chart.
export function panel(found, spans, moment, span, pinned) {
  const { index, on, loads } = happenings(found, spans, moment);
  const close = found.changes.filter((change) => Math.abs(Date.parse(change.at) / 1000 - moment) < span / 100);
  return [el("p", {}, when(new Date(moment * 1000)), pinned ? el("span", { class: "quiet" }, " pinned; click in the chart to release it") : ""),
    index >= 0 ? table([
      { name: "Machine", wide: true, cell: (host) => link(host.host, `/console/hosts/${encodeURIComponent(host.host)}`) }, { name: "CPU", right: true, cell: (host) => percent(host.cpu[index]) },
      { name: "CPU, max", right: true, cell: (host) => percent(host.cpu_max[index]) }, { name: "Memory", right: true, cell: (host) => megabytes(host.mem[index]) },
      { name: "Received/s", right: true, cell: (host) => bytes(host.received[index]) }, { name: "Sent/s", right: true, cell: (host) => bytes(host.sent[index]) },
    ], found.courses.hosts, "No machine reported then.") : el("p", { class: "quiet" }, "No machine reported then."),
    loads.map(([load, place]) => el("p", {}, link(load.name, `/console/load/${load.id}`), `: ${number(load.rate[place])}/s, p50 ${seconds(load.p50[place])}, p99 ${seconds(load.p99[place])}, ${number(load.errors[place])} errors/s`)),
    on.length ? table([{ name: "Active", cell: (each) => laneName(each.lane) }, { name: "Name", wide: true, cell: (each) => (each.href ? link(each.label, each.href) : each.label) }, { name: "Details", wide: true, cell: (each) => each.detail }], on.slice(0, 40), "") : null,
    close.length ? changes(together(close).slice(0, 20)) : null];
}
