// The pane with what stands around it: where the connection is, search, what is shown, the replay.

import { h, icon, iconButton, toggle, toast } from "../dom.js";
import { count } from "../format.js";
import { send } from "../api.js";
import { Lines, textOf } from "./lines.js";
import { Pane } from "./pane.js";
import { Search } from "./search.js";

export class OutputPanel {
  /** `path` is that of the exec; `onreplay` is asked for a replay. */
  constructor({ path, onreplay }) {
    this.path = path;
    this.lines = new Lines();
    this.pane = new Pane(this.lines, { label: "Output" });
    this.search = new Search(this.pane, (...found) => this.#found(...found));
    this.counts = h("span", { class: "counts" });
    this.result = h("output", { "aria-live": "polite" });
    this.input = h("input", { type: "text", enterkeyhint: "search", placeholder: "Search output", "aria-label": "Search output", oninput: () => this.search.find(this.input.value) });
    this.input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.search.step(event.shiftKey ? -1 : 1);
    });
    this.follows = toggle("follow", "Follow the end", true, (on) => this.pane.follow(on));
    this.pane.onfollow = (on) => this.follows.setAttribute("aria-pressed", String(on));
    this.wraps = toggle("wrap", "Wrap long lines", true, (on) => this.pane.element.classList.toggle("wrap", on));
    this.times = toggle("clock", "Show times", false, (on) => this.pane.element.classList.toggle("times", on));
    this.notice = h("div", { class: "foot", hidden: true });
    this.foot = h("div", { class: "foot", hidden: true });
    this.element = h(
      "div",
      { class: "term" },
      h("div", { class: "toolbar" },
        this.counts, h("span", { class: "spacer" }),
        h("div", { class: "search", role: "search" }, icon("search"), this.input, this.result,
          iconButton("up", "Previous match", () => this.search.step(-1)),
          iconButton("down", "Next match", () => this.search.step(1))),
        h("div", { class: "tools" }, this.follows, this.wraps, this.times,
          iconButton("download", "Download stdout", () => this.download("stdout")),
          iconButton("rewind", "Replay as it happened", onreplay))),
      this.notice,
      this.pane.element,
      this.foot,
    ); // prettier-ignore
  }

  clear() {
    this.lines.clear();
    this.pane.clear();
    this.search.clear();
    this.#count();
  }

  /** Shows an event, as it was followed. */
  show({ name, data, at }) {
    switch (name) {
      case "output":
        this.#add({ stream: data.stream ?? "stderr", text: textOf(data), partial: data.partial, at });
        break;
      case "claude_event":
      case "codex_event":
        this.#add({ stream: "stdout", text: JSON.stringify(data.event), partial: data.partial, at });
        break;
      case "gap":
        this.note(`Events ${data.requested ?? "before this"} to ${data.first_available === null ? "the end" : data.first_available - 1} are gone (${data.reason}).`, at);
        break;
    }
  }

  note(text, at) {
    this.lines.note(text, at);
    this.#changed(this.lines.end - 1);
  }

  #add(piece) {
    this.#changed(this.lines.add(piece));
  }

  #changed(from) {
    this.pane.changed(from);
    if (this.isCounting) return;
    this.isCounting = true;
    requestAnimationFrame(() => {
      this.isCounting = false;
      this.#count();
      this.search.more();
    });
  }

  #count() {
    const { end, dropped } = this.lines;
    this.counts.textContent = end === 0 ? "" : end === 1 ? "1 line" : `${count(end)} lines`;
    if (dropped > 0) {
      this.tell(`The first ${count(dropped)} lines are left out: this page keeps what a browser can hold.`, "Download all", () => this.download("stdout"));
    }
  }

  /** A line above the output, with something to do. */
  tell(text, action, onclick) {
    this.notice.hidden = false;
    this.notice.replaceChildren(h("span", {}, text), h("button", { type: "button", onclick }, action));
  }

  hush() {
    this.notice.hidden = true;
  }

  #found(current, found, isMore, isWanted) {
    this.result.textContent = isWanted ? `${current}/${count(found)}${isMore ? "+" : ""}` : "";
    this.result.classList.toggle("none", isWanted && found === 0);
  }

  /** The exact bytes, by way of this page: a link could not bring the key. */
  async download(stream) {
    try {
      const response = await send("GET", `${this.path}/output`, { query: { stream } });
      const blob = await response.blob();
      const link = h("a", { href: URL.createObjectURL(blob), download: `${this.path.split("/").at(-1)}.${stream}` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    } catch (problem) {
      toast(problem);
    }
  }

  /** The end of the output: what it came to. */
  end(...parts) {
    this.pane.element.dataset.empty = "It printed nothing.";
    this.foot.hidden = false;
    this.foot.replaceChildren(...parts);
  }

  /** Bytes of both streams so far; what cannot be asked for counts as nothing. */
  async size() {
    const sizes = ["stdout", "stderr"].map(async (stream) => {
      const response = await send("HEAD", `${this.path}/output`, { query: { stream } }).catch(() => null);
      return Number(response?.headers.get("content-length") ?? 0);
    });
    const [stdout, stderr] = await Promise.all(sizes);
    return stdout + stderr;
  }
}

