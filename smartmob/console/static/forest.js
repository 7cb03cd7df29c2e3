// A forest plot in the rows of a table: each test with the interval of its ratio, on one logarithmic scale.

import { badge, number, svg } from "./dom.js";

const WIDTH = 160, HEIGHT = 22, MIDDLE = HEIGHT / 2;
const MOST = Math.log(8); // a ratio beyond 8 or 1/8 is drawn at the edge
const LEAST = 1.5; // smallest effects that the scale reaches on both sides
const LEVELS = { slower: "bad", faster: "good", same: "plain", undecided: "warning", unfit: "warning" };
const WORDS = { same: "the same", unfit: "machine busy" };

export const verdictBadge = (verdict) => badge(WORDS[verdict] ?? verdict, LEVELS[verdict] ?? "plain");

// The name of a side; a revision has its commit beside it.
export function side({ given, commit }) {
  const short = commit.slice(0, 9);
  return short && !given.startsWith(short) ? `${given} (${short})` : given;
}

export const ratioText = (value) => (value === null ? "?" : `×${value.toFixed(3)}`);

// Return the scale of tests: the half of its width as a logarithm.
export function scaleOf(tests, minEffect) {
  const known = tests.flatMap((test) => [test.low, test.high, test.ratio, test.instructions?.ratio]).filter((value) => value).map((value) => Math.abs(Math.log(value)));
  return Math.min(MOST, Math.max(LEAST * Math.log1p(minEffect), ...known) * 1.05);
}

// Both ends of a scale, as text.
export const endsOf = (scale) => `×${Math.exp(-scale).toFixed(2)} to ×${Math.exp(scale).toFixed(2)}`;

function words(test) {
  const counts = test.instructions?.ratio ? `, instructions ${ratioText(test.instructions.ratio)}` : "";
  return `time ${ratioText(test.ratio)}, ${ratioText(test.low)} to ${ratioText(test.high)}${counts}`;
}

const line = (x1, x2, kind) => svg("line", { x1, x2, y1: MIDDLE, y2: MIDDLE, class: kind });

// The interval of the time: dashed to the edge where there is no bound yet.
function interval(test, at) {
  if (test.ratio === null) return [];
  const [low, high, middle] = [test.low, test.high, test.ratio].map((value) => (value === null ? null : at(Math.log(value))));
  return [
    low === null ? line(2, middle, "unbounded") : line(low, middle, "bounded"), high === null ? line(middle, WIDTH - 2, "unbounded") : line(middle, high, "bounded"),
    svg("circle", { cx: middle, cy: MIDDLE, r: 3.5 }),
  ];
}

// Return the drawing of a test: the band of changes that do not count, the line of no change, time and instructions.
export function forest(test, scale, minEffect) {
  const at = (logarithm) => WIDTH / 2 + (Math.max(-scale, Math.min(scale, logarithm)) / scale) * (WIDTH / 2 - 5);
  const band = [at(-Math.log1p(minEffect)), at(Math.log1p(minEffect))];
  const text = words(test);
  const node = svg("svg", { class: `forest ${LEVELS[test.verdict]}`, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": text },
    svg("title", {}, text), svg("rect", { x: band[0], width: band[1] - band[0], y: 0, height: HEIGHT, class: "band" }), svg("line", { x1: WIDTH / 2, x2: WIDTH / 2, y1: 0, y2: HEIGHT, class: "none" }), ...interval(test, at));
  const counted = test.instructions?.ratio ? at(Math.log(test.instructions.ratio)) : null;
  if (counted !== null) node.append(svg("path", { class: "counted", d: `M${counted - 4.5},${MIDDLE}l4.5,-4.5l4.5,4.5l-4.5,4.5z` }));
  return node;
}

// The instructions in a few words.
export function instructionWords(found) {
  if (!found) return "–";
  if (found.ratio === null || found.verdict === "not counted") return found.verdict;
  if (found.verdict === "varies") return found.spread === null ? "vary" : `vary by ${number(100 * found.spread, 2)} %`;
  const change = 100 * (found.ratio - 1);
  const changed = `${change > 0 ? "+" : ""}${number(change, 2)} %`;
  return found.base === found.head ? "equal" : found.verdict === "not confirmed" ? `${changed}, not confirmed` : changed;
}
