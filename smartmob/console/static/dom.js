// Building the page: nodes are made of values, never of markup, so that no text that came from outside is run.

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) hear(node, name.slice(2), value);
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

// One listener for each kind of event, whose handler can be another one later.
function hear(node, kind, handler) {
  const known = handlers.get(node) ?? {};
  if (!(kind in known)) node.addEventListener(kind, (event) => handlers.get(node)[kind]?.(event));
  handlers.set(node, { ...known, [kind]: handler });
}

export function fill(target, ...children) {
  const node = place(target);
  node.replaceChildren(...flat(children));
  return node;
}

// Like `fill` for what comes again and again: what stays the same is left as it is, so that nobody loses the focus,
// a selection or how far was scrolled. Children may be found in other nodes afterwards than in those that were given.
export function update(target, ...children) {
  const node = place(target);
  settle(node, flat(children).map((child) => (child instanceof Node ? child : document.createTextNode(child))));
  return node;
}

// What the page or its user changes in a node that is there.
const OWN = ["disabled", "open"];
const keyOf = (node) => node.dataset?.key;

function settle(node, wanted) {
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
    if (known) become(known, made);
  }
  while (next) {
    const after = next.nextSibling;
    next.remove();
    next = after;
  }
}

function become(node, made) {
  if (!(node instanceof Element)) {
    if (node.data !== made.data) node.data = made.data;
    return;
  }
  for (const { name } of [...node.attributes]) if (!made.hasAttribute(name) && !OWN.includes(name)) node.removeAttribute(name);
  for (const { name, value } of made.attributes) if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  for (const [kind, handler] of Object.entries({ ...nobody(node), ...handlers.get(made) })) hear(node, kind, handler);
  settle(node, [...made.childNodes]);
}

function nobody(node) {
  return Object.fromEntries(Object.keys(handlers.get(node) ?? {}).map((kind) => [kind, null]));
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Whether the visitor may only look.
export const reading = document.body.dataset.role !== "control";

// What tells a row from the others, where anything does.
const named = (row) => row.slug ?? row.id ?? row.name;

// columns: [{name, right?, wide?, control?, cell(row)}]
export function table(columns, rows, nothing) {
  if (!rows.length) return nothing instanceof Node ? nothing : el("p", { class: "quiet" }, nothing);
  if (reading) columns = columns.filter((column) => !column.control);
  const kind = (column) => (column.right ? "right" : column.wide ? "wide" : "tight");
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table" },
    el("table", {},
      el("thead", {}, el("tr", {}, columns.map((column) => el("th", { scope: "col", class: kind(column) }, column.name)))),
      el("tbody", {}, rows.map((row) =>
        el("tr", { "data-key": named(row) }, columns.map((column) => el("td", { class: kind(column) }, column.cell(row) ?? "–")))))));
}

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

export function empty(words, command) {
  return el("div", { class: "quiet" }, el("p", {}, words), command ? el("pre", { class: "command" }, el("code", {}, command)) : null);
}

// Asks whether something that cannot be undone is meant.
export function confirmed(question, verb) {
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

export function number(value, digits = 1) {
  if (value === null || value === undefined) return "–";
  return digits === 1 ? plain.format(value) : new Intl.NumberFormat("en-GB", { maximumFractionDigits: digits }).format(value);
}

export function percent(value) {
  return value === null || value === undefined ? "–" : `${value.toFixed(1)} %`;
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  for (const [unit, size] of [["GB", 2 ** 30], ["MB", 2 ** 20], ["kB", 2 ** 10]]) {
    if (Math.abs(value) >= size) return `${(value / size).toFixed(1)} ${unit}`;
  }
  return `${Math.round(value)} B`;
}

export function megabytes(value) {
  return value === null || value === undefined ? "–" : bytes(value * 2 ** 20);
}

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size < 1e-3) return `${(value * 1e6).toFixed(0)} µs`;
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

export function ago(text) {
  if (!text) return "never";
  const past = (Date.now() - new Date(text)) / 1000;
  return past < 2 ? "now" : `${seconds(past).replace(".00", "")} ago`;
}
