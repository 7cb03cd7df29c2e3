// Tables: sorted by the head of a column, filtered by a text, and shown as cards in a narrow window.

import { el, readOnly } from "./dom.js";

const FILTERED_FROM = 6; // rows from which on a table can be filtered
const SIZES = { ns: 1e-9, µs: 1e-6, ms: 1e-3, s: 1, min: 60, h: 3600, d: 86400, B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 };
const QUANTITY = /^([+−-]?)([\d,]*\.?\d+)(?:\s*(ns|µs|ms|s|min|h|d|B|kB|MB|GB|TB)\b)?/;
const KEPT = `tables ${location.pathname}`; // the name in the storage of the tab: a user who comes back finds the tables as before
const states = new Map(Object.entries(kept())); // how the user has sorted and filtered the tables of this page, by the key of a table

function kept() {
  try { return JSON.parse(sessionStorage.getItem(KEPT)) ?? {}; } catch { return {}; }
}

function keep() {
  try { sessionStorage.setItem(KEPT, JSON.stringify(Object.fromEntries(states))); } catch { /* a browser without storage forgets them */ }
}

// The key of a row, undefined if it has none.
const rowKey = (row) => row.slug ?? row.id ?? row.name;

// Return a text as a number in its smallest unit, or null.
export function quantity(text) {
  const found = QUANTITY.exec(text.trim());
  return found ? (found[1] && found[1] !== "+" ? -1 : 1) * Number(found[2].replaceAll(",", "")) * (SIZES[found[3]] ?? 1) : null;
}

function sortValue(cell) {
  const time = cell.querySelector("time");
  if (time) return Date.parse(time.getAttribute("datetime"));
  const text = cell.textContent.trim();
  if (text === "" || text === "–") return null;
  return cell.classList.contains("right") ? quantity(text) ?? text : text;
}

// Missing values come last in both directions.
function order(one, other, down) {
  if (one === null || other === null) return (one === null) - (other === null);
  const found = typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other), undefined, { numeric: true });
  return down ? -found : found;
}

function sorted(rows, state) {
  if (state.column === null) return rows;
  return rows.map((row) => [sortValue(row.children[state.column]), row]).sort(([one], [other]) => order(one, other, state.down)).map(([, row]) => row);
}

const fits = (row, text) => text === "" || row.textContent.toLowerCase().includes(text);

function filterRows(box, state) {
  const rows = [...box.querySelectorAll("tbody > tr")];
  for (const row of rows) row.hidden = !fits(row, state.text);
  const status = box.querySelector(".filter-status");
  if (status) status.textContent = statusText(rows, state);
}

const statusText = (rows, state) => (state.text ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "");
const direction = (state, index) => (state.column !== index ? null : state.down ? "descending" : "ascending");

function sortBy(box, state, column, down) {
  Object.assign(state, { column, down });
  keep();
  const body = box.querySelector("tbody");
  body.append(...sorted([...body.children], state));
  for (const [index, head] of [...box.querySelectorAll("thead th")].entries()) {
    if (direction(state, index)) head.setAttribute("aria-sort", direction(state, index));
    else head.removeAttribute("aria-sort");
  }
}

const boxOf = (event) => event.currentTarget.closest(".table-box");

function head(column, index, state, kind) {
  const turn = (event) => sortBy(boxOf(event), state, index, state.column === index ? !state.down : kind === "right");
  return el("th", { scope: "col", role: "columnheader", class: kind, "aria-sort": direction(state, index), title: column.title },
    column.name && !column.unsorted ? el("button", { type: "button", class: "sort", onclick: turn }, column.name) : column.name);
}

function tools(columns, rows, state) {
  const choices = columns.flatMap((column, index) => (column.name && !column.unsorted ? [[index, false, `${column.name} ↑`], [index, true, `${column.name} ↓`]] : []));
  return el("div", { class: "table-tools", "data-key": "tools" },
    el("input", { type: "search", placeholder: "Filter", "aria-label": "Filter the table", value: state.text || null, oninput: (event) => { state.text = event.currentTarget.value.trim().toLowerCase(); keep(); filterRows(boxOf(event), state); } }),
    el("select", { class: "sort-choice", "aria-label": "Sort the table by", onchange: (event) => { const [column, down] = event.currentTarget.value.split(" "); sortBy(boxOf(event), state, Number(column), down === "true"); } },
      el("option", { value: "", disabled: true, selected: state.column === null }, "Sort by"),
      choices.map(([index, down, words]) => el("option", { value: `${index} ${down}`, selected: state.column === index && state.down === down }, words))),
    el("span", { class: "quiet filter-status", role: "status" }, statusText(rows, state)));
}

// Return a table. columns: [{name, right?, wide?, control?, unsorted?, title?, cell(row)}]; `key` tells tables with the same
// columns apart, `rowClass(row)` is the class of a row, and without `filter` there are no tools. A row keeps its node as long as it has the same slug, id or name.
export function table(columns, rows, nothing, { key = "", rowClass = () => null, filter = true } = {}) {
  if (!rows.length) return nothing instanceof Node ? nothing : el("p", { class: "quiet" }, nothing);
  if (readOnly) columns = columns.filter((column) => !column.control);
  const known = `${key}\n${columns.map((column) => column.name).join("\n")}`;
  if (!states.has(known)) states.set(known, { column: null, down: false, text: "" });
  const state = states.get(known);
  const kind = (column) => (column.right ? "right" : column.wide ? "wide" : "tight");
  const made = rows.map((row) => el("tr", { role: "row", "data-key": rowKey(row), class: rowClass(row) }, columns.map((column) => {
    const content = column.cell(row) ?? "–";
    return el("td", { role: "cell", class: content === "–" || content === "" ? `${kind(column)} none` : kind(column), "data-label": column.name }, content);
  })));
  for (const row of made) row.hidden = !fits(row, state.text);
  return el("div", { class: "table-box" },
    filter && rows.length >= FILTERED_FROM ? tools(columns, made, state) : null,
    el("div", { class: "scroll", "data-key": "scroll" },
      el("table", { role: "table" },
        el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, columns.map((column, index) => head(column, index, state, kind(column))))),
        el("tbody", { role: "rowgroup" }, sorted(made, state)))));
}
