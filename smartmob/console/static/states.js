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

export function state(word) {
  return badge(word, level(word));
}

// Whether a running program passes its readiness check; nothing for one that has none.
export function readiness(process) {
  if (process.state !== "running" || process.ready === null) return "";
  return process.ready ? badge("ready", "good") : badge("not ready", "warning");
}

export function exitBadge(job) {
  if (job.state !== "exited") return state(job.state);
  return badge(`exited ${job.exit_code}`, job.exit_code === 0 ? "good" : "warning");
}
