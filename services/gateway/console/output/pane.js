// Shows lines, however many. They are in blocks; only blocks near what is seen have elements in them,
// all others are as high as they were or will be. Scrolling is the browser's own.

import { h } from "../dom.js";
import { timeOfDay } from "../format.js";
import { paint, spans, isPlain } from "./ansi.js";
import { BLOCK_LINES } from "./lines.js";

const NEAR = "800px 0px";
/** This near to the end counts as the end. */
const END_PX = 24;
const LINE_PX = 20;

export class Pane {
  #blocks = [];
  #isDirty = false;
  #changedFrom = Infinity;

  constructor(lines, { label }) {
    this.lines = lines;
    this.isFollowing = true;
    this.element = h("div", { class: "pane wrap", tabindex: "0", role: "region", "aria-label": label, "data-empty": "Nothing was printed yet." });
    this.#observer = new IntersectionObserver((entries) => this.#seen(entries), { root: this.element, rootMargin: NEAR });
    this.element.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.isFollowing && this.toEnd()).observe(this.element);
  }

  #observer;
  /** Called with whether the end is followed, when that changes; and with each block that is drawn. */
  onfollow = () => {};
  ondraw = () => {};

  /** Lines from this one on are new or other than before: they are drawn with the next frame. */
  changed(from) {
    this.#changedFrom = Math.min(this.#changedFrom, from);
    if (this.#isDirty) return;
    this.#isDirty = true;
    requestAnimationFrame(() => this.draw());
  }

  clear() {
    this.#blocks.forEach((block) => this.#remove(block));
    this.#blocks = [];
    this.#changedFrom = Infinity;
  }

  draw() {
    this.#isDirty = false;
    const from = this.#changedFrom;
    this.#changedFrom = Infinity;
    while (this.#blocks.length > 0 && this.#blocks[0].first < this.lines.dropped) this.#remove(this.#blocks.shift());
    let next = this.#blocks.length > 0 ? this.#blocks.at(-1).first + BLOCK_LINES : this.lines.dropped;
    for (; next < this.lines.end; next += BLOCK_LINES) this.#append(next);
    for (let index = this.#blocks.length - 1; index >= 0; index -= 1) {
      const block = this.#blocks[index];
      if (block.first + BLOCK_LINES <= from) break;
      if (block.isDrawn) this.#fill(block, from);
      else this.#estimate(block);
    }
    if (this.isFollowing) this.toEnd();
  }

  toEnd() {
    const last = this.#blocks.at(-1);
    if (last && !last.isDrawn) this.#show(last);
    this.element.scrollTop = this.element.scrollHeight;
  }

  follow(on) {
    this.isFollowing = on;
    if (on) this.toEnd();
    this.onfollow(on);
  }

  /** Scrolls a line into the middle, and returns its element. */
  reveal(number) {
    const block = this.#blocks.find((block) => number < block.first + BLOCK_LINES);
    if (!block) return null;
    if (this.isFollowing) this.follow(false);
    if (!block.isDrawn) this.#show(block);
    const line = block.element.children[number - block.first];
    line?.scrollIntoView({ block: "center" });
    return line;
  }

  /** The elements of the lines that are drawn, each with its number. */
  *drawn() {
    for (const block of this.#blocks) if (block.isDrawn) yield* this.linesOf(block);
  }

  *linesOf(block) {
    let number = block.first;
    for (const element of block.element.children) yield [number++, element];
  }

  #append(first) {
    const block = { first, element: h("div", { class: "block" }), isDrawn: false };
    block.element.block = block;
    this.#blocks.push(block);
    this.#estimate(block);
    this.element.append(block.element);
    this.#observer.observe(block.element);
  }

  #remove(block) {
    this.#observer.unobserve(block.element);
    block.element.remove();
  }

  #estimate(block) {
    const count = Math.min(BLOCK_LINES, this.lines.end - block.first);
    block.element.style.height = `${Math.max(block.height ?? 0, count * LINE_PX)}px`;
  }

  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      const { block } = target;
      if (isIntersecting && !block.isDrawn) this.#show(block);
      else if (!isIntersecting && block.isDrawn && block !== this.#blocks.at(-1)) this.#hide(block);
    }
    if (this.isFollowing) this.toEnd();
  }

  #show(block) {
    block.isDrawn = true;
    block.element.style.height = "";
    this.#fill(block, 0);
  }

  #hide(block) {
    block.height = block.element.offsetHeight;
    block.isDrawn = false;
    block.element.style.height = `${block.height}px`;
    block.element.replaceChildren();
  }

  /** Draws the lines of a block that are missing, and those from `from` on anew. */
  #fill(block, from) {
    const { element, first } = block;
    const end = Math.min(first + BLOCK_LINES, this.lines.end);
    const keep = Math.max(0, Math.min(element.children.length, from - first));
    while (element.children.length > keep) element.lastChild.remove();
    const fresh = document.createDocumentFragment();
    for (let number = first + keep; number < end; number += 1) fresh.append(this.#line(number));
    element.append(fresh);
    this.ondraw(block);
  }

  #line(number) {
    const line = this.lines.at(number);
    const element = document.createElement("div");
    element.className = `line ${line.stream}`;
    element.dataset.n = number + 1;
    if (line.at) element.dataset.t = timeOfDay(line.at);
    if (line.pen === null && isPlain(line.text)) element.textContent = line.text || "\n";
    else paint(element, spans(line.text, line.pen).spans);
    return element;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.element;
    const isAtEnd = scrollHeight - scrollTop - clientHeight < END_PX;
    // The page itself scrolls down only; whoever scrolls up wants to stay there.
    const isUp = scrollTop < (this.lastTop ?? 0);
    this.lastTop = scrollTop;
    if (this.isFollowing && isUp && !isAtEnd) this.follow(false);
    else if (!this.isFollowing && isAtEnd && !isUp) this.follow(true);
  }
}
