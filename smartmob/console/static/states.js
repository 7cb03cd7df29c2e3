// Badges for states: their colour shows whether a state is good or bad.

import { badge } from "./dom.js";

const LEVELS = {
  running: "good", finished: "good", exited: "plain", backoff: "warning", stopping: "busy", stopped: "plain",
  pending: "busy", downloading: "busy", unpacking: "busy", processing: "busy", waiting: "busy", draining: "busy",
  failed: "bad", signaled: "warning", "timed out": "warning", lost: "bad",
  regression: "bad", suspect: "warning", improvement: "good", noise: "plain", unfit: "warning", gone: "warning", steady: "good", unknown: "plain",
};

export function level(state) {
  return LEVELS[state] ?? (/failure|no procfile|unknown process/.test(state) ? "bad" : "plain");
}

// A badge with the colour of a key, and its word if that is another one.
export function state(key, word = key) {
  return badge(word, level(key));
}

// The verdict on a test or a comparison: its colour is that of its key, its text the word that the service gives.
export const verdict = (found) => badge(found.word ?? found.verdict, found.since ? "warning" : level(found.verdict));

// Whether a running program passes its readiness check; nothing for one that has none.
export function readiness(process) {
  if (process.state !== "running" || process.ready === null) return "";
  return process.ready ? badge("ready", "good") : badge("not ready", "warning");
}

export function exitBadge(job) {
  if (job.state !== "exited") return state(job.state);
  return badge(`exited ${job.exit_code}`, job.exit_code === 0 ? "good" : "warning");
}
