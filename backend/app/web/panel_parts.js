// Writes what changed and nothing else, so that what a selection or a screen reader holds is not torn away each second.
import { make } from "/web/dom.js";
import { said } from "/web/panel_format.js";

export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// A term of the glossary, or a pair like those in it, with what it means on the spot.
export function term(node, name) {
  const [title, meaning] = Array.isArray(name) ? name : said().terms[name] || [name, ""];
  put(node, title);
  if (node.title !== meaning) node.title = meaning;
}

// Rows of [term or title, value, small text] in a list of definitions.
export function pairs(list, rows) {
  while (list.children.length > rows.length) list.lastElementChild.remove();
  rows.forEach(([name, value, small], index) => {
    let box = list.children[index];
    if (!box) {
      box = make("div", "", make("dt"), make("dd"));
      list.append(box);
    }
    term(box.firstElementChild, name);
    const shown = box.lastElementChild;
    const key = `${value}|${small ?? ""}`;
    if (shown.dataset.key === key) return;
    shown.dataset.key = key;
    shown.replaceChildren(document.createTextNode(value));
    if (small !== undefined) shown.append(make("small", "", small));
  });
}

export function items(list, rows, build) {
  const key = JSON.stringify([said().locale, rows]);
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...rows.map(build));
}

// A table whose first column names the row. `columns` are terms.
export function table(node, columns, rows, empty) {
  const key = JSON.stringify([said().locale, rows]);
  if (node.dataset.key === key) return;
  node.dataset.key = key;
  const heads = columns.map((name) => {
    const head = make("th");
    head.scope = "col";
    term(head, name);
    return head;
  });
  node.tHead.replaceChildren(make("tr", "", ...heads));
  if (!rows.length) {
    const cell = make("td", "none", empty);
    cell.colSpan = columns.length;
    node.tBodies[0].replaceChildren(make("tr", "", cell));
    return;
  }
  node.tBodies[0].replaceChildren(...rows.map((cells) => make("tr", "", ...cells.map((cell, index) => {
    const [text, className] = Array.isArray(cell) ? cell : [cell, ""];
    const box = make(index ? "td" : "th", className, text);
    if (!index) box.scope = "row";
    return box;
  }))));
}

export const chip = ([className, text]) => make("li", className, text);

// The words of a section, each with its meaning, under one line that opens.
export function explain(details) {
  const isOpen = details.open;
  const list = make("dl", "", ...details.dataset.terms.split(" ").map((name) => {
    const [title, meaning] = said().terms[name];
    return make("div", "", make("dt", "", title), make("dd", "", meaning));
  }));
  details.replaceChildren(make("summary", "", said().meaning), list);
  details.open = isOpen;
}
