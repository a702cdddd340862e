// The lines that a command printed, made of the pieces that its events bring. A piece without its
// newline goes on in the next one of its stream.

import { plainText, spans, isPlain } from "./ansi.js";

/** Lines that a page keeps; of more, the first ones are dropped and can be downloaded. */
export const LINES_MAX = 200_000;
/** The same, of characters: lines may be long. */
export const CHARS_MAX = 64_000_000;
/** A longer line is shown as several: what has no newline at all would be drawn as one, again and again. */
export const LINE_MAX_CHARS = 16_384;
/** So many are dropped, and drawn, at a time. */
export const BLOCK_LINES = 100;

/** An escape that goes on behind what there is of it. */
const OPEN_ESCAPE = /\x1b(?:\[[0-9;:?<=>!]{0,64})?$/;

const DECODER = new TextDecoder();

/** The text of an event's data; what is not UTF-8 is shown as well as it can be. */
export function textOf(data) {
  if (data.line !== undefined) return data.line;
  const bytes = Uint8Array.from(atob(data.line_base64 ?? ""), (character) => character.charCodeAt(0));
  return DECODER.decode(bytes);
}

export class Lines {
  constructor() {
    this.clear();
  }

  clear() {
    this.all = [];
    /** How many were dropped before the first one. */
    this.dropped = 0;
    this.chars = 0;
    this.open = {};
    this.pens = {};
  }

  /** The number of the next line, from 0. */
  get end() {
    return this.dropped + this.all.length;
  }

  at(number) {
    return this.all[number - this.dropped];
  }

  /** Takes a piece; the number of the first line that is new or other than before. */
  add({ stream, text, partial, at }) {
    let first = null;
    while (text.length > LINE_MAX_CHARS) {
      const end = cutOf(text);
      const number = this.#put(stream, text.slice(0, end), false, at);
      first ??= number;
      text = text.slice(end);
    }
    const last = this.#put(stream, text, partial, at);
    return first ?? last;
  }

  #put(stream, text, partial, at) {
    let number = this.open[stream];
    if (number === undefined || number < this.dropped) {
      number = this.end;
      this.all.push({ stream, text, at, pen: this.pens[stream] ?? null });
      this.#drop();
    } else {
      this.at(number).text += text;
    }
    this.chars += text.length;
    const line = this.at(number);
    if (partial && (line.text.length < LINE_MAX_CHARS || OPEN_ESCAPE.test(line.text.slice(-80)))) {
      this.open[stream] = number;
      return number;
    }
    delete this.open[stream];
    this.pens[stream] = isPlain(line.text) ? line.pen : spans(line.text, line.pen).pen;
    return number;
  }

  /** Something that the console says between the lines. */
  note(text, at) {
    this.chars += text.length;
    this.all.push({ stream: "note", text, at, pen: null });
  }

  #drop() {
    while (this.all.length > LINES_MAX || (this.chars > CHARS_MAX && this.all.length > BLOCK_LINES)) {
      for (const { text } of this.all.splice(0, BLOCK_LINES)) this.chars -= text.length;
      this.dropped += BLOCK_LINES;
    }
  }

  plain(number) {
    return plainText(this.at(number).text);
  }
}

/** Where a line that is too long is cut: not within a character or an escape. */
function cutOf(text) {
  const head = text.slice(0, LINE_MAX_CHARS);
  const escape = head.slice(-80).match(OPEN_ESCAPE);
  if (escape) return LINE_MAX_CHARS - escape[0].length;
  return /[\ud800-\udbff]$/.test(head) ? LINE_MAX_CHARS - 1 : LINE_MAX_CHARS;
}
