"use strict";
// Without this script the page is complete: it sorts tables, copies text and opens what is folded before printing.

const number = (text) => {
  const plain = text.replace(/[,\s%+]/g, "").replace("\u2212", "-").replace("\u221e", "Infinity");
  return plain === "" ? NaN : Number(plain);
};

const shown = (row, column) => (row.cells[column]?.childNodes[0]?.textContent ?? "").trim();

const sort = (table, column, head) => {
  const body = table.tBodies[0];
  const values = [...body.rows].map((row) => [row, shown(row, column)]);
  const numeric = values.some(([, text]) => !Number.isNaN(number(text)));
  const before = head.getAttribute("aria-sort");
  const down = before ? before === "ascending" : numeric;
  const rank = (text) => (Number.isNaN(number(text)) ? -Infinity : number(text));
  values.sort(([, a], [, b]) => (numeric ? rank(a) - rank(b) || 0 : a.localeCompare(b, "en", { numeric: true })));
  if (down) values.reverse();
  body.append(...values.map(([row]) => row));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
};

const button = (className, onClick) => {
  const made = document.createElement("button");
  made.type = "button";
  made.className = className;
  made.addEventListener("click", onClick);
  return made;
};

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const sorter = button("sort", () => sort(table, column, head));
    sorter.append(...head.childNodes);
    head.append(sorter);
  });
}

for (const source of document.querySelectorAll("[data-copy]")) {
  const copier = button("copy", async () => {
    await navigator.clipboard.writeText(source.innerText);
    copier.textContent = "copied";
  });
  copier.textContent = `copy ${source.dataset.copy}`;
  source.before(copier);
}

let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const folded of opened) folded.open = true;
});
addEventListener("afterprint", () => {
  for (const folded of opened) folded.open = false;
});
