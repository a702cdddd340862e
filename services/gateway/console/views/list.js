// A list that keeps itself up to date: what is shown of it is read again every few seconds while the page
// is seen.

import { h, replaceKept } from "../dom.js";
import { get } from "../api.js";

const REFRESH_MS = 3_000;
const SLOW_REFRESH_MS = 15_000;
const PAGE_ROWS = 50;
/** More are not answered at once. */
const ANSWER_MAX_ROWS = 200;

export class List {
  #timer = 0;
  #reading = null;
  #rows = PAGE_ROWS;
  #shown = "";
  #isOver = false;

  /** `row(item)` makes an `li`; `empty` is shown where there is none. */
  constructor({ path, query = {}, row, empty, label }) {
    Object.assign(this, { path, query, row });
    this.list = h("ul", { class: "list card", "aria-label": label });
    this.more = h("button", { type: "button", hidden: true, onclick: () => this.#more() }, "Show more");
    this.problem = h("p", { class: "notice bad", role: "status", hidden: true });
    this.nothing = h("div", { hidden: true }, empty);
    this.element = h("div", { class: "list-box", "aria-busy": "true" }, this.problem, this.list, this.nothing, this.more);
    this.refresh();
  }

  close() {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#reading.abort();
  }

  /** With other filters. */
  ask(query) {
    this.query = query;
    this.#rows = PAGE_ROWS;
    return this.refresh();
  }

  /** An answer that another question has overtaken is not shown. */
  async refresh() {
    clearTimeout(this.#timer);
    this.#reading?.abort();
    const reading = (this.#reading = new AbortController());
    let delay = SLOW_REFRESH_MS;
    try {
      const { items, isMore } = await this.#read(reading.signal);
      if (reading.signal.aborted) return;
      this.problem.hidden = true;
      this.#show(items, isMore);
      const isMoving = items.some((item) => item.status === "running" || item.status === "queued" || item.status === "active");
      if (isMoving) delay = REFRESH_MS;
    } catch (problem) {
      if (reading.signal.aborted) return;
      this.problem.textContent = problem.message;
      this.problem.hidden = false;
      delay = REFRESH_MS;
    }
    this.element.setAttribute("aria-busy", "false");
    this.#timer = setTimeout(() => (document.hidden ? this.#wait() : this.refresh()), delay);
  }

  #wait() {
    document.addEventListener("visibilitychange", () => this.#isOver || this.refresh(), { once: true });
  }

  async #read(signal) {
    const found = new Map();
    let cursor = null;
    do {
      const limit = Math.min(ANSWER_MAX_ROWS, this.#rows - found.size);
      const page = await get(this.path, { ...this.query, limit, cursor }, signal);
      for (const item of page.items) found.set(item.id, item);
      cursor = page.next_cursor;
    } while (cursor && found.size < this.#rows);
    return { items: [...found.values()], isMore: Boolean(cursor) };
  }

  #show(items, isMore) {
    // Whoever is in the list with the keyboard stays where they are.
    const shown = JSON.stringify(items) + Math.floor(Date.now() / 30_000);
    if (shown !== this.#shown) replaceKept(this.list, items.map((item) => this.row(item)));
    this.#shown = shown;
    this.list.hidden = items.length === 0;
    this.nothing.hidden = items.length > 0;
    this.more.hidden = !isMore;
  }

  #more() {
    this.#rows += PAGE_ROWS;
    this.refresh();
  }
}
