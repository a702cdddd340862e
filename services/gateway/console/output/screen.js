// The terminal of an exec: the gateway draws its screen from the log, this shows it and sends what is
// typed.

import { h } from "../dom.js";
import { get, send } from "../api.js";
import { paint, spans, plainText } from "./ansi.js";

/** Between two looks while something is printed. */
const LOOK_MS = 120;
const KEYS = {
  Enter: "\r", Backspace: "\x7f", Tab: "\t", Escape: "\x1b", ArrowUp: "\x1b[A", ArrowDown: "\x1b[B", ArrowRight: "\x1b[C",
  ArrowLeft: "\x1b[D", Home: "\x1b[H", End: "\x1b[F", Delete: "\x1b[3~", PageUp: "\x1b[5~", PageDown: "\x1b[6~",
}; // prettier-ignore
const ENCODER = new TextEncoder();

export class TerminalScreen {
  #timer = 0;
  #isLooking = false;
  #wants = false;
  #offset = null;
  #typed = Promise.resolve();

  constructor({ path, size, isRunning }) {
    Object.assign(this, { path, size, isRunning });
    this.view = h("pre", { class: "screen", tabindex: "0", "aria-label": "Terminal", role: "region", onkeydown: (event) => this.#key(event), onpaste: (event) => this.#paste(event) });
    this.hint = h("div", { class: "foot" }, "Click the terminal and type; Tab leaves it.");
    this.element = h("div", { class: "term" }, this.view, this.hint);
    this.changed();
  }

  close() {
    clearTimeout(this.#timer);
    this.isOver = true;
  }

  ended() {
    this.hint.textContent = "The command has ended.";
    this.changed();
  }

  changed() {
    this.#wants = true;
    if (this.#isLooking || this.isOver) return;
    this.#isLooking = true;
    this.#timer = setTimeout(() => this.#look(), LOOK_MS);
  }

  async #look() {
    this.#wants = false;
    try {
      this.#draw(await get(`${this.path}/screen`));
    } catch (problem) {
      this.hint.textContent = problem.message;
    }
    this.#isLooking = false;
    if (this.#wants) this.changed();
  }

  #draw({ lines, ansi, cursor }) {
    const coloured = ansi ? rowsOf(ansi, lines) : null;
    const rows = lines.map((text, row) => {
      const element = h("div", {});
      let pieces = coloured ? coloured[row] : [{ text, pen: null }];
      if (cursor.visible && cursor.row === row && this.isRunning()) pieces = withCursor(pieces, cursor.col);
      paint(element, pieces);
      if (!element.textContent) element.append("\u00a0");
      return element;
    });
    this.view.replaceChildren(...rows);
  }

  #key(event) {
    if (!this.isRunning() || event.metaKey || event.altKey) return;
    let text = KEYS[event.key];
    if (event.ctrlKey) text = /^[a-z[\]\\]$/i.test(event.key) ? String.fromCharCode(event.key.toUpperCase().charCodeAt(0) & 31) : undefined;
    else if (event.key.length === 1) text = event.key;
    // Tab alone leaves the terminal, as it leaves everything.
    if (text === undefined || event.key === "Tab") return;
    event.preventDefault();
    event.stopPropagation();
    this.#type(text);
  }

  #paste(event) {
    event.preventDefault();
    this.#type(event.clipboardData.getData("text").replace(/\r?\n/g, "\r"));
  }

  /** One piece after the other; each says where in the input it is. */
  #type(text) {
    this.#typed = this.#typed.then(async () => {
      try {
        if (this.#offset === null) this.#offset = (await this.#send(new Uint8Array(), 0)).next_offset;
        this.#offset = (await this.#send(ENCODER.encode(text), this.#offset)).next_offset;
      } catch (problem) {
        this.#offset = null;
        this.hint.textContent = problem.message;
      }
    });
  }

  async #send(body, offset) {
    const response = await send("POST", `${this.path}/stdin`, { body, query: { offset: String(offset) } });
    return response.json();
  }
}

/** The same pieces, with the character under the cursor inverted. */
function withCursor(pieces, col) {
  const cells = pieces.flatMap(({ text, pen }) => Array.from(text, (character) => ({ text: character, pen })));
  while (cells.length <= col) cells.push({ text: " ", pen: null });
  cells[col] = { text: cells[col].text, pen: { inverse: true } };
  return cells;
}

/** The rows of a drawn screen with their colours, where they are the rows that are said; else nothing. */
function rowsOf(ansi, lines) {
  const text = ansi.replace(/^\x1bc/, "");
  const end = text.search(/\x1b(?:\[[0-9;?]*[A-LN-Za-ln-z]|[^[])/);
  const rows = (end < 0 ? text : text.slice(0, end)).split("\r\n");
  let pen = null;
  const drawn = rows.map((row) => {
    const found = spans(row, pen);
    pen = found.pen;
    return found.spans;
  });
  const isSame = lines.every((line, row) => plainText(rows[row] ?? "").trimEnd() === line);
  return isSame ? lines.map((_, row) => drawn[row] ?? []) : null;
}
