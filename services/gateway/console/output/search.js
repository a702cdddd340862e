// Finds a text in the lines, and marks it where it is seen. Marks are highlights of the browser's, so
// that nothing of what is shown has to be changed for them.

/** Found places that are counted; more are "10,000+". */
const FOUND_MAX = 10_000;
/** Lines that are looked through without a pause. */
const STEP_LINES = 20_000;

export class Search {
  #found = [];
  #next = 0;
  #current = -1;
  #wanted = "";
  #timer = 0;
  /** The first place is yet to be gone to. */
  #seeks = false;

  /** `onchange(current, count, isMore)`: which of how many. */
  constructor(pane, onchange) {
    this.pane = pane;
    this.onchange = onchange;
    pane.ondraw = () => this.#mark();
  }

  find(text) {
    this.#wanted = text.toLowerCase();
    this.clear();
    this.#seeks = this.#wanted !== "";
    this.more();
  }

  clear() {
    clearTimeout(this.#timer);
    this.#found = [];
    this.#next = this.pane.lines.dropped;
    this.#current = -1;
    this.#mark();
    this.#tell();
  }

  /** Looks through the lines that have come. The last one may go on. */
  more() {
    const { lines } = this.pane;
    clearTimeout(this.#timer);
    if (!this.#wanted) return;
    const until = Math.min(lines.end, Math.max(this.#next, lines.dropped) + STEP_LINES);
    const gone = this.#found.filter(({ number }) => number < lines.dropped).length;
    this.#current = Math.max(-1, this.#current - gone);
    this.#found = this.#found.filter(({ number }) => number >= lines.dropped && number < this.#next);
    for (let number = Math.max(this.#next, lines.dropped); number < until; number += 1) this.#look(number);
    this.#next = until === lines.end ? Math.max(lines.dropped, until - 1) : until;
    this.#mark();
    this.#tell();
    if (until < lines.end) this.#timer = setTimeout(() => this.more(), 0);
    if (!this.#seeks) return;
    this.#seeks = this.#found.length === 0 && until < lines.end;
    if (this.#found.length > 0) this.step(1);
  }

  #look(number) {
    const text = this.pane.lines.plain(number).toLowerCase();
    for (let at = text.indexOf(this.#wanted); at >= 0; at = text.indexOf(this.#wanted, at + this.#wanted.length)) {
      if (this.#found.length >= FOUND_MAX) return;
      this.#found.push({ number, at });
    }
  }

  /** To the next place, or with −1 to the one before. */
  step(by) {
    if (this.#found.length === 0) return;
    this.#current = (this.#current + by + this.#found.length) % this.#found.length;
    this.pane.reveal(this.#found[this.#current].number);
    this.#mark();
    this.#tell();
  }

  #tell() {
    this.onchange(this.#current + 1, this.#found.length, this.#found.length >= FOUND_MAX, this.#wanted !== "");
  }

  #mark() {
    if (!globalThis.CSS?.highlights) return;
    CSS.highlights.delete("found");
    CSS.highlights.delete("current");
    if (this.#found.length === 0) return;
    const byLine = Map.groupBy(this.#found, ({ number }) => number);
    const [all, current] = [new Highlight(), new Highlight()];
    current.priority = 1;
    for (const [number, element] of this.pane.drawn()) {
      for (const place of byLine.get(number) ?? []) {
        const range = rangeOf(element, place.at, this.#wanted.length);
        if (range) (place === this.#found[this.#current] ? current : all).add(range);
      }
    }
    CSS.highlights.set("found", all);
    CSS.highlights.set("current", current);
  }
}

function rangeOf(element, at, length) {
  const range = new Range();
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  let isBegun = false;
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (!isBegun && at < node.length) {
      range.setStart(node, at);
      isBegun = true;
    }
    if (isBegun && at + length <= node.length) {
      range.setEnd(node, at + length);
      return range;
    }
    at -= node.length;
  }
  return null;
}
