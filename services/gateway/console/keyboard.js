// Shortcuts: those of the page that is shown, and those of all pages. Single keys work only while
// nothing is being written.

import { dialog, h } from "./dom.js";

/** `page()` is the page; it may have `shortcuts()`: `{key: [what, action]}`. */
export function keyboard({ page, up }) {
  const ours = {
    "?": ["This list", () => help()],
    j: ["Next in a list", () => step(1)],
    k: ["Before that in a list", () => step(-1)],
    u: ["Up: to what this is part of", up],
    d: ["Light, dark, or as the machine is set", () => document.getElementById("theme").click()],
  };
  const help = () => {
    const table = Object.entries({ ...page().shortcuts?.(), ...ours, Esc: ["Close, or leave a field"] });
    return dialog("Keyboard shortcuts", (close) => [
      h("dl", { class: "keys" }, table.map(([key, [what]]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])),
      h("div", { class: "actions" }, h("button", { type: "button", autofocus: true, onclick: () => close() }, "Close")),
    ]);
  };
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    const isField = target.matches?.("input:not([type=range], [type=checkbox]), textarea, select, .screen");
    if (event.key === "Escape" && isField) return target.blur();
    if (isField || document.querySelector("dialog[open]")) return;
    const shortcut = page().shortcuts?.()[event.key] ?? ours[event.key];
    if (!shortcut) return;
    event.preventDefault();
    shortcut[1]();
  });
  document.getElementById("help").addEventListener("click", help);
}

function step(by) {
  const rows = [...document.querySelectorAll("main .row")];
  if (rows.length === 0) return;
  const at = rows.indexOf(document.activeElement);
  rows[at < 0 ? 0 : Math.max(0, Math.min(rows.length - 1, at + by))].focus();
}
