// Shows a conversation: one row per line, kept in order and changed in place.

import { seconds } from "./format.js";

const WHO = { user: "You", assistant: "Answer", tool: "Tool", note: "Note" };
const NEAR_END_PX = 48;

/** The list on the page, in a box that scrolls; the newest row stays in view unless the reader has scrolled up. */
export class Transcript {
  #list;
  #box;
  #empty;
  #rows = new Map();

  constructor(list, empty) {
    this.#list = list;
    this.#box = list.parentElement;
    this.#empty = empty;
  }

  render(lines) {
    const follow = this.#box.scrollHeight - this.#box.scrollTop - this.#box.clientHeight < NEAR_END_PX;
    const shown = new Set(lines.map(({ id }) => id));
    for (const [id, row] of this.#rows) if (!shown.has(id)) this.#drop(id, row);
    lines.forEach((line, index) => this.#put(line, index));
    this.#empty.hidden = lines.length > 0;
    if (follow) this.#box.scrollTop = this.#box.scrollHeight;
  }

  #drop(id, row) {
    row.element.remove();
    this.#rows.delete(id);
  }

  #put(line, index) {
    const row = this.#rows.get(line.id) ?? this.#create(line);
    update(row, line);
    const there = this.#list.children[index];
    if (there !== row.element) this.#list.insertBefore(row.element, there ?? null);
  }

  #create(line) {
    const row = {
      element: element("li", "line"),
      who: element("span", "line-who", WHO[line.kind]),
      text: element("span", "line-text"),
      words: document.createTextNode(""),
      mark: element("span", "line-mark"),
    };
    row.element.dataset.kind = line.kind;
    row.element.dataset.itemId = line.id;
    row.text.append(row.words, row.mark);
    row.element.append(row.who, row.text);
    this.#rows.set(line.id, row);
    return row;
  }
}

function update(row, line) {
  const words = line.text ?? (line.cutMs === null ? "…" : "");
  const spaced = line.cutMs !== null && words ? `${words} ` : words;
  if (row.words.data !== spaced) row.words.data = spaced;
  row.element.dataset.pending = String(line.text === null);
  row.element.dataset.speaking = String(line.speaking && line.kind === "assistant");
  // Screen readers wait for a row that is still changing.
  row.element.setAttribute("aria-busy", String(line.speaking || (line.text === null && line.cutMs === null)));
  const mark = line.cutMs === null ? "" : `cut here, ${seconds(line.cutMs)} heard`;
  if (row.mark.textContent !== mark) row.mark.textContent = mark;
}

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}
