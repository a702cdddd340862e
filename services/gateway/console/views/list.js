// A list that keeps itself up to date: its first page is read again every few seconds while the page is
// seen, further ones when they are asked for.

import { h, replaceKept } from "../dom.js";
import { get } from "../api.js";

const REFRESH_MS = 3_000;
const SLOW_REFRESH_MS = 15_000;

export class List {
  #timer = 0;
  #cursor = null;
  #later = [];
  #shown = "";
  #isOver = false;

  /** `row(item)` makes an `li`; `empty` is shown where there is none. */
  constructor({ path, query = {}, row, empty, label, onitems = () => {} }) {
    Object.assign(this, { path, query, row, empty, onitems });
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
  }

  /** With other filters. */
  ask(query) {
    this.query = query;
    this.#later = [];
    return this.refresh();
  }

  async refresh(asOf) {
    clearTimeout(this.#timer);
    let delay = SLOW_REFRESH_MS;
    try {
      const page = await get(this.path, { ...this.query, as_of: asOf });
      if (this.#isOver) return;
      this.problem.hidden = true;
      if (this.#later.length === 0) this.#cursor = page.next_cursor;
      this.#show(page.items);
      const isMoving = page.items.some((item) => item.status === "running" || item.status === "queued" || item.status === "active");
      if (isMoving) delay = REFRESH_MS;
    } catch (problem) {
      if (this.#isOver) return;
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

  #show(first) {
    const ids = new Set(first.map((item) => item.id));
    const items = [...first, ...this.#later.filter((item) => !ids.has(item.id))];
    this.onitems(items);
    // Whoever is in the list with the keyboard stays where they are.
    const shown = JSON.stringify(items) + Math.floor(Date.now() / 30_000);
    if (shown !== this.#shown) replaceKept(this.list, items.map((item) => this.row(item)));
    this.#shown = shown;
    this.list.hidden = items.length === 0;
    this.nothing.hidden = items.length > 0;
    this.more.hidden = !this.#cursor;
  }

  async #more() {
    try {
      const page = await get(this.path, { ...this.query, cursor: this.#cursor });
      this.#later.push(...page.items);
      this.#cursor = page.next_cursor;
      await this.refresh();
    } catch (problem) {
      this.problem.textContent = problem.message;
      this.problem.hidden = false;
    }
  }
}
