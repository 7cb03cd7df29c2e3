// Alerts: the active ones, the history, and the rules and receivers.

import { fetchJson, sendJson, runAction, showError } from "./api.js";
import { ago, badge, clockTime, el, emptyState, readOnly, table, update } from "./dom.js";
import { live, onNews } from "./live.js";

const API = "/api/v1/alerts";
const LEVELS = { critical: "bad", warning: "warning", info: "plain" };

const time = (at) => el("time", { datetime: at, title: at }, `${clockTime(at)} (${ago(at)})`);

function silence(alert) {
  return el("button", {
    type: "button",
    onclick: (event) => runAction(event.target, async () => {
      await sendJson(`${API}/silences`, { rule: alert.rule, subject: alert.subject.replace(/[[*?]/g, "[$&]"), seconds: 3600, text: "from the console" });
      event.target.textContent = "Silenced";
    }),
  }, "Silence 1 h");
}

async function show() {
  try {
    const [active, history, rules, receivers] = await Promise.all([
      fetchJson(API), fetchJson(`${API}/history?limit=50`), fetchJson(`${API}/rules`), fetchJson(`${API}/receivers`),
    ]);
    const now = active.alerts.map((alert) => ({ ...alert, state: "firing" }));
    const soon = active.pending.map((each) => ({ ...each, state: "pending", severity: "info", summary: `for ${Math.round(each.seconds)} s so far` }));
    update("active", table([
      { name: "State", cell: (alert) => badge(alert.state, alert.state === "firing" ? LEVELS[alert.severity] : "plain") },
      { name: "Rule", cell: (alert) => alert.rule },
      { name: "What", wide: true, cell: (alert) => `${alert.subject}: ${alert.summary}` },
      { name: "Since", cell: (alert) => (alert.fired_at ? time(alert.fired_at) : "") },
      { name: "Notified", cell: (alert) => (alert.state === "pending" ? "" : alert.notified_at ? "yes" : "silenced, or no receiver") },
      { name: "", cell: (alert) => (!readOnly && alert.state === "firing" ? silence(alert) : "") },
    ], [...now, ...soon], el("p", { class: "quiet" }, "No alerts are firing.")));
    update("history", table([
      { name: "Fired", cell: (alert) => time(alert.fired_at) },
      { name: "Resolved", cell: (alert) => (alert.resolved_at ? time(alert.resolved_at) : badge("firing", LEVELS[alert.severity])) },
      { name: "Rule", cell: (alert) => alert.rule },
      { name: "What", wide: true, cell: (alert) => `${alert.subject}: ${alert.summary}` },
      { name: "Reason", cell: (alert) => alert.reason },
    ], history.alerts, el("p", { class: "quiet" }, "No alert fired in the last week.")));
    update("rules", table([
      { name: "Rule", cell: (rule) => rule.name },
      { name: "Condition", wide: true, cell: (rule) => rule.condition },
      { name: "On", cell: (rule) => rule.subjects.join(", ") || "all" },
      { name: "To", cell: (rule) => rule.receivers.join(", ") || "all" },
      { name: "Severity", cell: (rule) => rule.severity },
    ], rules.rules, emptyState("No rule yet. To be notified of a silent machine, run:", "smartmob alerts add gone 'silent for 5m'")));
    update("receivers", table([
      { name: "Receiver", cell: (receiver) => receiver.name },
      { name: "Address", wide: true, cell: (receiver) => receiver.address },
      { name: "Signed", cell: (receiver) => (receiver.signed ? "yes" : "no") },
    ], receivers.receivers, emptyState("No receiver yet. Add a webhook:", "smartmob alerts receiver add ops https://chat.example.com/hooks/1")));
  } catch (error) { showError(error); }
}

await show();
live(onNews(show, 1000));
setInterval(show, 15000);
