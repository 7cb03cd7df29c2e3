// Builds the page. Nodes are made of values, never of markup, so that no text from a client is run.

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) setHandler(node, name.slice(2), value);
    else if (name === "class") node.className = value;
    else if (value === true) node.setAttribute(name, "");
    else node.setAttribute(name, value);
  }
  node.append(...flat(children));
  return node;
}

const flat = (children) => children.flat(Infinity).filter((child) => child !== null && child !== undefined);
const place = (target) => (typeof target === "string" ? document.getElementById(target) : target);
const handlers = new WeakMap();

// Adds one listener for each kind of event; its handler can be replaced later.
function setHandler(node, kind, handler) {
  const known = handlers.get(node) ?? {};
  if (!(kind in known)) node.addEventListener(kind, (event) => handlers.get(node)[kind]?.(event));
  handlers.set(node, { ...known, [kind]: handler });
}

export function fill(target, ...children) {
  const node = place(target);
  node.replaceChildren(...flat(children));
  return node;
}

// Like `fill`, but keeps the nodes that stay the same, so that the focus, a selection and the scroll position remain.
// The given children are copied into existing nodes where possible.
export function update(target, ...children) {
  const node = place(target);
  reconcile(node, flat(children).map((child) => (child instanceof Node ? child : document.createTextNode(child))));
  return node;
}

// Attributes that the page or its user changes in an existing node.
const LOCAL_ATTRIBUTES = ["disabled", "open"];
const keyOf = (node) => node.dataset?.key;

function reconcile(node, wanted) {
  const keys = new Set(wanted.map(keyOf));
  for (const child of [...node.children]) if (keyOf(child) && !keys.has(keyOf(child))) child.remove();
  const keyed = new Map([...node.children].filter(keyOf).map((child) => [keyOf(child), child]));
  let next = node.firstChild;
  for (const made of wanted) {
    const key = keyOf(made);
    const known = key ? keyed.get(key) : next && !keyOf(next) && next.nodeName === made.nodeName ? next : null;
    keyed.delete(key);
    if (known === next && known) next = next.nextSibling;
    else node.insertBefore(known ?? made, next);
    if (known) patch(known, made);
  }
  while (next) {
    const after = next.nextSibling;
    next.remove();
    next = after;
  }
}

function patch(node, made) {
  if (!(node instanceof Element)) {
    if (node.data !== made.data) node.data = made.data;
    return;
  }
  for (const { name } of [...node.attributes]) if (!made.hasAttribute(name) && !LOCAL_ATTRIBUTES.includes(name)) node.removeAttribute(name);
  for (const { name, value } of made.attributes) if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  for (const [kind, handler] of Object.entries({ ...clearedHandlers(node), ...handlers.get(made) })) setHandler(node, kind, handler);
  reconcile(node, [...made.childNodes]);
}

function clearedHandlers(node) {
  return Object.fromEntries(Object.keys(handlers.get(node) ?? {}).map((kind) => [kind, null]));
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Whether the user has no right to control anything.
export const readOnly = document.body.dataset.role !== "control";

export { table } from "./tables.js";

export function tiles(pairs) {
  return el("div", { class: "tiles" },
    pairs.filter((pair) => pair).map(([name, value]) => el("div", { class: "tile" }, el("b", {}, value ?? "–"), el("span", {}, name))));
}

export function badge(text, level = "plain") {
  return el("span", { class: `badge ${level}` }, text);
}

export function link(text, href) {
  return el("a", { href }, text);
}

export function emptyState(words, command) {
  return el("div", { class: "quiet" }, el("p", {}, words), command ? el("pre", { class: "command" }, el("code", {}, command)) : null);
}

// Asks for confirmation of an action that cannot be undone; resolves to true or false.
export function confirmDialog(question, verb) {
  return new Promise((resolve) => {
    const dialog = el("dialog", { "aria-label": question }, el("p", {}, question),
      el("form", { method: "dialog", class: "buttons" },
        el("button", { class: "second", value: "no", autofocus: true }, "Cancel"), el("button", { class: "danger", value: "yes" }, verb)));
    dialog.addEventListener("close", () => { resolve(dialog.returnValue === "yes"); dialog.remove(); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

const plain = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 1 });
const near = new Intl.NumberFormat("en-GB", { maximumSignificantDigits: 2 });

export function number(value, digits = 1) {
  if (value === null || value === undefined) return "–";
  if (digits === 1) return (value !== 0 && Math.abs(value) < 0.1 ? near : plain).format(value);
  return new Intl.NumberFormat("en-GB", { maximumFractionDigits: digits }).format(value);
}

// A number with its noun: 1 line, 2 lines, 1,200 lines.
export function counted(value, noun) {
  return `${number(value)} ${noun}${value === 1 ? "" : "s"}`;
}

export function percent(value) {
  return value === null || value === undefined ? "–" : `${value.toFixed(1)} %`;
}

// Units are of 1,000s, as in the terminal and in reports.
export function bytes(value) {
  if (value === null || value === undefined) return "–";
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (Math.abs(value) >= size) return `${(value / size).toFixed(1)} ${unit}`;
  }
  return `${Math.round(value)} B`;
}

export const MEGABYTE = 2 ** 20; // the unit in which machines report memory and storage (smartmob/hosts/fields.py)

// A size that a machine reports in MB.
export function megabytes(value) {
  return value === null || value === undefined ? "–" : bytes(value * MEGABYTE);
}

// Three digits, as far as two decimals show them.
function short(value) {
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size < 1e-6) return size < 0.005e-9 ? "0 µs" : `${short(value * 1e9)} ns`;
  if (size < 1e-3) return `${short(value * 1e6)} µs`;
  if (size < 1) return `${(value * 1e3).toFixed(1)} ms`;
  if (size < 120) return `${value.toFixed(2)} s`;
  if (size < 7200) return `${(value / 60).toFixed(1)} min`;
  if (size < 172800) return `${(value / 3600).toFixed(1)} h`;
  return `${(value / 86400).toFixed(1)} d`;
}

export function clockTime(text) {
  return new Date(text).toLocaleTimeString("en-GB");
}

export function when(text) {
  if (!text) return "–";
  const moment = new Date(text);
  const day = moment.toDateString() === new Date().toDateString() ? "" : `${moment.toLocaleDateString("en-CA")} `;
  return el("time", { datetime: moment.toISOString(), title: moment.toISOString() }, day + moment.toLocaleTimeString("en-GB"));
}

// Return a value of a machine. If it cannot be measured now, it is the last value with its age, and the reason is its title.
export function figure(host, name, format) {
  const stale = host[name] === null ? host.stale?.[name] : null;
  if (!stale) return format(host[name]);
  const text = stale.value === null ? "not measured" : `${format(stale.value)} (${seconds(stale.age)} old)`;
  return el("span", { class: "badge warning", title: stale.reason }, text);
}

const SILENT_MILLISECONDS = 10000; // without a report for longer, a machine is silent

// Whether a machine has not reported lately; `now` is the time of the service.
export function silent(host, now) {
  return !host.at || new Date(now) - new Date(host.at) > SILENT_MILLISECONDS;
}

// A total in MB, which older reporting programs do not send.
export function ofTotal(host, name) {
  const total = host.totals?.[name];
  return figure(host, name, (value) => (total && value !== null ? `${megabytes(value)} of ${megabytes(total)}` : megabytes(value)));
}

export function ago(text) {
  if (!text) return "never";
  const past = (Date.now() - new Date(text)) / 1000;
  return past < 2 ? "now" : `${seconds(past < 120 ? Math.round(past) : past).replace(".00", "")} ago`;
}
