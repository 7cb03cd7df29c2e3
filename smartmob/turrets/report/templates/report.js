// The data of the page and the chart library are compressed; both are unpacked here.
const settings = {responsive: true, displaylogo: false};
// What fits between the margins of A4 and of Letter: a page is not laid out for paper yet when it is told of it.
const PAPER = 655;
const FEW_ABOVE = 10;
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
let data = null;
let drawn = Promise.resolve();

async function unpacked(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (char) => char.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

function el(tag, attributes, ...children) {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children);
  return node;
}

const whole = new Intl.NumberFormat("en-GB", {maximumFractionDigits: 0});
const digits = (value, count) => value.toLocaleString("en-GB", {minimumFractionDigits: count, maximumFractionDigits: count});
const number = (value) => {
  const size = Math.abs(value);
  if (Number.isInteger(value) || size >= 100) return whole.format(value);
  return digits(value, size >= 0.1 ? 2 : Math.min(1 - Math.floor(Math.log10(size)), 9));
};
const above = (count, share) => Math.floor(count * (100 - share) / 100 + 1e-9);

const short = (value) => {
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
};

function seconds(value) {
  const size = Math.abs(value);
  if (size >= 100 || (Number.isInteger(value) && size >= 10)) return `${whole.format(value)} s`;
  if (size >= 1) return `${digits(value, 2)} s`;
  if (size >= 0.01 || value === 0) return `${(value * 1e3).toFixed(1)} ms`;
  if (size >= 0.001) return `${(value * 1e3).toFixed(2)} ms`;
  if (size < 0.005e-9) return "0.0 ms";
  return size >= 1e-6 ? `${short(value * 1e6)} µs` : `${short(value * 1e9)} ns`;
}

function cellText(kind, name, cell, samples) {
  if (cell === null) return "-";
  if (typeof cell === "string") return cell;
  if (kind === "share") return `${(cell * 100).toFixed(2)}%`;
  if (kind === "seconds") return seconds(cell);
  if (kind !== "percentile") return number(cell);
  return seconds(cell) + (typeof samples === "number" && above(samples, Number(name.split("p").at(-1))) < FEW_ABOVE ? "*" : "");
}

// Hidden columns are for marks, and in the table as CSV.
const shownColumns = (table) => table.columns.filter(([, kind]) => kind !== "hidden");

function body(table, rows) {
  const places = new Map(table.columns.map(([name], index) => [name, index]));
  return rows.map((row) => el("tr", {}, ...shownColumns(table).map(([name, kind]) => {
    const samples = row[places.get(name.startsWith("failed p") ? "failed samples" : "samples")];
    const cell = el("td", {className: kind}, cellText(kind, name, row[places.get(name)], samples));
    cell.dataset.name = name;
    return cell;
  })));
}

// Fills a table with the rows that contain the searched text; without one, the first rows, or all.
function fill(key, most, text = "") {
  const table = data.tables[key], wanted = text.trim().toLowerCase();
  const found = wanted ? table.rows.filter((row) => row.some((cell) => typeof cell === "string" && cell.toLowerCase().includes(wanted))) : table.rows;
  document.querySelector(`[data-table="${key}"] tbody`).replaceChildren(...body(table, found.slice(0, most)));
  const more = document.querySelector(`[data-more="${key}"]`), left = found.length - most;
  more.replaceChildren();
  if (left > 0) more.append(`and ${number(left)} more `, el("button", {type: "button", onclick: () => fill(key, Infinity, text)}, `Show all ${number(found.length)}`));
  if (wanted && !found.length) more.append("Nothing found.");
}

// A cell that begins like a formula would be run by a spreadsheet.
const csvCell = (cell) => {
  const text = cell === null ? "" : typeof cell === "string" && /^'*[ \u00a0]*[=+\-@\t\r\n]/.test(cell) ? `'${cell}` : String(cell);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

function save(key) {
  const table = data.tables[key];
  const rows = [table.columns.map(([name]) => name), ...table.rows].map((row) => row.map(csvCell).join(","));
  const address = URL.createObjectURL(new Blob([rows.join("\r\n") + "\r\n"], {type: "text/csv"}));
  el("a", {href: address, download: `${key}.csv`}).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

function tools() {
  for (const place of document.querySelectorAll("[data-tools]")) {
    const key = place.dataset.tools, most = document.querySelectorAll(`[data-table="${key}"] tbody tr`).length;
    const noun = key.replace(/-\d+$/, "");
    if (data.tables[key].rows.length > 10) {
      place.append(el("input", {type: "search", placeholder: `Search ${noun}`, ariaLabel: `Search ${noun}`, oninput: (event) => fill(key, most, event.target.value)}));
    }
    place.append(el("button", {type: "button", onclick: () => save(key)}, "Save as CSV"));
    if (data.tables[key].rows.length > most) fill(key, most);
  }
  for (const part of document.querySelectorAll("[data-details]")) part.addEventListener("toggle", () => unfold(part));
}

function unfold(part) {
  if (part.querySelector("table")) return;
  const table = data.tables[part.dataset.details];
  const head = el("tr", {}, ...shownColumns(table).map(([name, kind]) => el("th", {className: kind}, name)));
  part.append(el("table", {}, el("thead", {}, head), el("tbody", {}, ...body(table, table.rows))));
}

// Names of timers are names, whatever they look like.
const dress = (value, key = "") => {
  if (typeof value === "string") return key !== "name" ? data.dark[value] ?? value : value;
  if (Array.isArray(value)) return value.map((item) => dress(item, key));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, dress(item, name)]));
};

function react(id, inDark, width) {
  const place = document.getElementById(id), chart = inDark ? dress(data.charts[id]) : data.charts[id];
  const narrow = (width ?? place.clientWidth) < 600 ? {l: 48, r: chart.layout.yaxis2 ? 40 : 12, t: 10, b: 42} : chart.layout.margin;
  Plotly.react(place, chart.data, {...chart.layout, margin: narrow, width}, settings);
}

// Draws one chart after another, so that the page can be read and scrolled meanwhile.
async function draw(inDark) {
  for (const id of Object.keys(data.charts)) {
    react(id, inDark);
    await new Promise((done) => setTimeout(done));
  }
  document.documentElement.dataset.drawn = inDark ? "dark" : "light";
}

async function start() {
  if (!window.DecompressionStream) {
    document.getElementById("unsupported").hidden = false;
    return;
  }
  data = JSON.parse(await unpacked("data"));
  tools();
  const library = el("script", {text: await unpacked("library")});
  document.head.append(library);
  const redraw = () => { drawn = drawn.then(() => draw(prefersDark.matches)); };
  prefersDark.addEventListener("change", redraw);
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("[data-details]")) { unfold(part); part.open = true; }
    for (const id of Object.keys(data.charts)) react(id, false, PAPER);
  });
  addEventListener("afterprint", redraw);
  redraw();
}

start();
