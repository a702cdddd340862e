// Plays what was recorded again, as fast as it happened or faster. Works on entries `{at, …}` in their
// order: `reset()` forgets all that was shown, `show(entry)` shows one more.

import { h, iconButton, icon } from "../dom.js";
import { clock } from "../format.js";

const SPEEDS = [0.5, 1, 2, 4, 16, 64];
/** With "skip pauses" no pause is longer. */
const PAUSE_MAX_MS = 1_000;

export class Player {
  #position = 0;
  #index = 0;
  #isPlaying = false;
  #last = 0;

  constructor({ reset, show, onclose }) {
    Object.assign(this, { reset, show });
    this.entries = [];
    this.button = iconButton("play", "Play", () => this.play(!this.#isPlaying));
    this.seek = h("input", { type: "range", min: "0", max: "1000", value: "0", step: "1", "aria-label": "Position", oninput: () => this.#seek() });
    this.time = h("output", {}, "0:00 / 0:00");
    this.speed = h("select", { "aria-label": "Speed" }, SPEEDS.map((speed) => h("option", { value: String(speed), selected: speed === 1 }, `${speed}×`)));
    this.skips = h("input", { type: "checkbox", checked: true, onchange: () => this.#measure() });
    this.element = h(
      "div",
      { class: "player", role: "group", "aria-label": "Replay" },
      this.button, this.seek, this.time, this.speed,
      h("label", { class: "check" }, this.skips, "Skip pauses"),
      iconButton("close", "End the replay", () => { this.play(false); onclose(); }),
    ); // prettier-ignore
  }

  get isPlaying() {
    return this.#isPlaying;
  }

  load(entries) {
    this.entries = entries;
    this.#measure();
    this.to(0);
    this.play(true);
  }

  play(on) {
    if (on && this.#position >= this.whole) this.to(0);
    this.#isPlaying = on;
    this.button.replaceChildren(icon(on ? "pause" : "play"));
    const label = on ? "Pause" : "Play";
    this.button.setAttribute("aria-label", label);
    this.button.title = label;
    this.#last = performance.now();
    if (on) requestAnimationFrame(() => this.#tick());
  }

  /** To a moment, in milliseconds from the beginning. */
  to(position) {
    if (position < this.#position || this.#index === 0) {
      this.reset();
      this.#index = 0;
    }
    this.#position = position;
    this.#advance();
  }

  /** When each entry is played: pauses are as long as they were, or cut. */
  #measure() {
    let position = 0;
    let before = null;
    this.moments = this.entries.map((entry) => {
      // What the gateway itself says, as of a gap, was never written.
      const at = entry.at ? new Date(entry.at) : before;
      const pause = Math.max(0, at - (before ?? at));
      before = at;
      position += this.skips.checked ? Math.min(pause, PAUSE_MAX_MS) : pause;
      return position;
    });
    this.whole = position;
    this.#tell();
  }

  #advance() {
    while (this.#index < this.entries.length && this.moments[this.#index] <= this.#position) {
      this.show(this.entries[this.#index]);
      this.#index += 1;
    }
    this.#tell();
  }

  #tell() {
    this.time.textContent = `${clock(this.#position)} / ${clock(this.whole)}`;
    this.seek.value = String(Math.round((this.#position / Math.max(1, this.whole)) * 1000));
    this.seek.setAttribute("aria-valuetext", this.time.textContent);
  }

  #seek() {
    this.to((Number(this.seek.value) / 1000) * this.whole);
  }

  #tick() {
    if (!this.#isPlaying) return;
    if (!this.element.isConnected) return this.play(false);
    const now = performance.now();
    this.#position = Math.min(this.whole, this.#position + (now - this.#last) * Number(this.speed.value));
    this.#last = now;
    this.#advance();
    if (this.#index >= this.entries.length) return this.play(false);
    requestAnimationFrame(() => this.#tick());
  }
}
