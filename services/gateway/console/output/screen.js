// The terminal of an exec: the gateway draws its screen from the log, this shows it and sends what is
// typed.

import { h } from "../dom.js";
import { get, send } from "../api.js";
import { paint, spans, plainText } from "./ansi.js";

/** Between two looks while something is printed. */
const LOOK_MS = 120;
const KEYS = {
  Enter: "\r", Backspace: "\x7f", Escape: "\x1b", ArrowUp: "\x1b[A", ArrowDown: "\x1b[B", ArrowRight: "\x1b[C",
  ArrowLeft: "\x1b[D", Home: "\x1b[H", End: "\x1b[F", Delete: "\x1b[3~", PageUp: "\x1b[5~", PageDown: "\x1b[6~",
}; // prettier-ignore
const ENCODER = new TextEncoder();
/** Less than the gateway takes at once. */
const PIECE_MAX_BYTES = 256 * 1024;
/** How often a piece is sent that was not answered, after a pause that doubles each time. */
const TRIES = 5;
const FIRST_RETRY_MS = 250;
const ANSWER_MAX_MS = 15_000;
/** After so long somebody else may have typed: where the input stands is asked for again. */
const KNOWN_MS = 1_000;
const HINT = "Click the terminal and type; Tab leaves it.";

export class TerminalScreen {
  #timer = 0;
  #isLooking = false;
  #wants = false;
  #pending = "";
  #isSending = false;
  #isStopped = false;
  /** Where the next piece of the input begins, as of `#knownAt`. */
  #offset = 0;
  #knownAt = -Infinity;

  constructor({ path, isRunning }) {
    Object.assign(this, { path, isRunning });
    this.view = h("pre", {
      class: "screen", tabindex: "0", "aria-label": "Terminal", role: "region",
      onkeydown: (event) => this.#key(event), onpaste: (event) => this.#paste(event),
      onfocus: () => this.#goOn(), onclick: () => this.#goOn(),
    }); // prettier-ignore
    this.hint = h("div", { class: "foot", role: "status" }, HINT);
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
    if (!this.isRunning() || event.isComposing) return;
    const text = typed(event);
    if (text === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.#type(text);
  }

  #paste(event) {
    if (!this.isRunning()) return;
    event.preventDefault();
    this.#type(event.clipboardData.getData("text").replace(/\r?\n/g, "\r"));
  }

  /** What is typed while a piece is on its way goes into the next one. */
  #type(text) {
    if (this.#isStopped) return;
    this.#pending += text;
    if (!this.#isSending) this.#send();
  }

  async #send() {
    this.#isSending = true;
    try {
      while (this.#pending) {
        const bytes = ENCODER.encode(this.#pending);
        this.#pending = "";
        for (let at = 0; at < bytes.length; at += PIECE_MAX_BYTES) await this.#give(bytes.subarray(at, at + PIECE_MAX_BYTES));
      }
    } catch (problem) {
      this.#stop(problem);
    }
    this.#isSending = false;
  }

  /** Gives a piece where the input stands. */
  async #give(bytes) {
    if (performance.now() - this.#knownAt > KNOWN_MS) await this.#post(new Uint8Array(), 0);
    for (;;) {
      const begin = this.#offset;
      const isFirst = await this.#post(bytes, begin);
      if (this.#offset === begin + bytes.length) return;
      // Others have typed there before, and nothing of this was taken: it goes behind what they typed.
      // Of what was sent twice nobody knows which of the two they came before.
      if (!isFirst) throw new Error("Somebody else types, too.");
    }
  }

  /**
   * Sent again at the same place a piece is taken once. Whether it was sent once only; the input then
   * stands at `#offset`.
   */
  async #post(bytes, offset) {
    for (let tries = 1; ; tries += 1) {
      try {
        const signal = AbortSignal.timeout(ANSWER_MAX_MS);
        const response = await send("POST", `${this.path}/stdin`, { body: bytes, query: { offset: String(offset) }, signal });
        this.#offset = (await response.json()).next_offset;
        this.#knownAt = performance.now();
        return tries === 1;
      } catch (problem) {
        const isFinal = problem.status >= 400 && problem.status < 500 && problem.status !== 429;
        if (isFinal || tries === TRIES || this.isOver) throw problem;
        await new Promise((resolve) => setTimeout(resolve, FIRST_RETRY_MS * 2 ** (tries - 1)));
      }
    }
  }

  /** A piece is lost: what follows could mean something else without it, so nothing is sent until people have looked. */
  #stop(problem) {
    this.#pending = "";
    this.#knownAt = -Infinity;
    if (!this.isRunning()) return;
    this.#isStopped = true;
    this.hint.textContent = `What you typed last was not sent. ${problem.message} Look at the screen, and click it to type on.`;
  }

  #goOn() {
    if (!this.#isStopped) return;
    this.#isStopped = false;
    this.hint.textContent = HINT;
  }
}

/** What a key sends; nothing for keys that are the browser's. Tab leaves the terminal, as it leaves everything. */
function typed(event) {
  const { key, ctrlKey, shiftKey, altKey, metaKey } = event;
  const isCharacter = [...key].length === 1;
  // Many keyboards have their brackets there; with Ctrl and Alt held, too, as some browsers tell it.
  if (event.getModifierState("AltGraph")) return isCharacter ? key : KEYS[key];
  if (metaKey) return undefined;
  // With Shift the browser copies and pastes.
  if (ctrlKey) return !altKey && !shiftKey && /^[a-z[\]\\]$/i.test(key) ? String.fromCharCode(key.toUpperCase().charCodeAt(0) & 31) : undefined;
  // As AltGr, on a Mac.
  if (altKey) return isCharacter && !/^[a-z0-9]$/i.test(key) ? key : undefined;
  return isCharacter ? key : KEYS[key];
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
