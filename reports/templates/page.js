"use strict";
// Tables sort by their headings and show the rows that match their controls; without this script the page is whole,
// only still. A control names its table in data-table.

const rows = (table) => [...table.tBodies].flatMap((body) => [...body.rows]);
const text = (row, column) => (row.cells[column]?.dataset.value ?? row.cells[column]?.textContent ?? "").trim();
const number = (shown) => parseFloat(shown.replace("−", "-").replaceAll(",", ""));

function sort(table, column, direction) {
  const key = (row) => {
    const shown = text(row, column), value = number(shown);
    return Number.isNaN(value) ? shown : value;
  };
  const compare = (a, b) => {
    const [x, y] = [key(a), key(b)];
    const empty = [x, y].map((value) => value === "–" || value === "");
    if (empty[0] || empty[1]) return empty[0] - empty[1]; // always last
    if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
    return direction * (typeof x === "number" ? x - y : x.localeCompare(y));
  };
  const body = table.tBodies[0];
  body.append(...rows(table).sort(compare));
  table.classList.add("sorted");
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const heading of table.tHead.rows[table.tHead.rows.length - 1].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      // numbers start with the highest, words with the first
      const first = heading.classList.contains("number") ? "descending" : "ascending";
      const other = first === "descending" ? "ascending" : "descending";
      const order = heading.ariaSort === first ? other : first;
      for (const cell of table.tHead.querySelectorAll("[aria-sort]")) cell.removeAttribute("aria-sort");
      heading.ariaSort = order;
      sort(table, heading.cellIndex, order === "ascending" ? 1 : -1);
    });
  }
}

const controls = [...document.querySelectorAll("[data-table]")];

function filter(id) {
  const table = document.getElementById(id), own = controls.filter((control) => control.dataset.table === id);
  let shown = 0;
  for (const row of rows(table)) {
    row.hidden = own.some(({ value, dataset }) =>
      dataset.column === undefined
        ? !row.textContent.toLowerCase().includes(value.trim().toLowerCase())
        : value !== "" && text(row, dataset.column) !== value);
    shown += !row.hidden;
  }
  const count = document.querySelector(`output[for="${id}"]`);
  count.textContent = `${shown} of ${rows(table).length} rows`;
}
for (const control of controls) control.addEventListener("input", () => filter(control.dataset.table));
for (const part of document.querySelectorAll(".script")) part.hidden = false;

// The categories of another model: values in the order of the rows' data-row, from the fifth column on.
const chosen = document.getElementById("category-model");
if (chosen) {
  const values = JSON.parse(document.getElementById("category-values").textContent);
  const table = document.getElementById("category-table");
  chosen.addEventListener("input", () => {
    for (const row of rows(table)) {
      values[chosen.value][row.dataset.row].forEach((value, k) => { row.cells[k + 4].textContent = value; });
    }
    const sorted = table.tHead.querySelector("[aria-sort]");
    if (sorted) sort(table, sorted.cellIndex, sorted.ariaSort === "ascending" ? 1 : -1);
  });
}

// Where a number comes from: its row and column, and the files that its section names as source. The pointer shows it
// as a title, the focus on the line below; the arrow keys move within a table.
const line = document.getElementById("origin");
const SHOWN = "td.number, td.evidence, td.paper";

function heading(cell) {
  const head = cell.closest("table").tHead.rows;
  const own = head[head.length - 1].cells[cell.cellIndex];
  let place = 0;
  const group = head.length > 1 ? [...head[0].cells].find((one) => (place += one.colSpan) > cell.cellIndex) : null;
  const names = [...cell.parentElement.cells].slice(0, cell.cellIndex).filter((one) => !one.matches(SHOWN));
  return [...names, group, own].map((one) => one?.title || one?.textContent.trim()).filter(Boolean).join(", ");
}

function explain(cell) {
  if (cell.dataset.explained) return;
  const source = cell.closest("section").querySelector(".source")?.textContent.trim() ?? "";
  cell.title = `${heading(cell)}${cell.title && `: ${cell.title}`}. ${source}`;
  cell.dataset.explained = "yes";
}

document.addEventListener("pointerover", ({ target }) => { const cell = target.closest(SHOWN); if (cell) explain(cell); });
document.addEventListener("focusin", ({ target }) => { line.textContent = target.title; });
document.addEventListener("focusout", () => { line.textContent = ""; });

for (const table of document.querySelectorAll("table")) {
  const first = table.querySelector(SHOWN);
  if (!first) continue;
  const enter = (cell) => {
    if (!cell) return;
    explain(cell);
    cell.tabIndex = -1;
    cell.focus();
  };
  first.tabIndex = 0;
  table.addEventListener("focusin", ({ target }) => { if (target.matches(SHOWN)) explain(target); });
  table.addEventListener("click", ({ target }) => enter(target.closest(SHOWN)));
  table.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step || !event.target.matches(SHOWN)) return;
    const cells = (row) => [...row.cells].filter((cell) => cell.matches(SHOWN));
    const shown = rows(table).filter((row) => !row.hidden && cells(row).length);
    const row = event.target.parentElement, x = cells(row).indexOf(event.target);
    enter(cells(shown[shown.indexOf(row) + step[0]] ?? row)[x + step[1]]);
    event.preventDefault();
  });
}

// A link into closed details, or to their section, opens them. One to a row marks all rows that share its data-rows.
const open = () => {
  const id = decodeURIComponent(location.hash.slice(1)), target = id ? document.getElementById(id) : null;
  for (const row of document.querySelectorAll("[data-rows]")) row.classList.toggle("marked", row.dataset.rows === id);
  for (let part = target?.querySelector(":scope > .fold") ?? target; part; part = part.parentElement) {
    if (part.tagName === "DETAILS") part.open = true;
  }
  const table = target?.closest(".follow");
  if (table?.scrollHeight > table?.clientHeight) table.scrollTop = target.offsetTop - 100; // below its sticky headings
  (table?.scrollTop ? table : target)?.scrollIntoView();
};
for (const event of ["hashchange", "load"]) addEventListener(event, open);
