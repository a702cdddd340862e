// Shortcuts: those of the page that is shown, and those of all pages. Single keys work only while
// nothing is being written.

import { dialog, h } from "./dom.js";

/** A third member of a shortcut: it is for those who may run something. */
export const NEEDS_EXEC = "exec";

/** `page()` is the page; it may have `shortcuts()`: `{key: [what, action]}`. */
export function keyboard({ page, up }) {
  const ours = {
    "?": ["This list", () => help()],
    j: ["Next in a list", () => step(1)],
    k: ["Before that in a list", () => step(-1)],
    u: ["Up: to what this is part of", up],
    d: ["Light, dark, or as the machine is set", () => document.getElementById("theme").click()],
  };
  const known = () => {
    const mayRun = document.documentElement.dataset.may !== "read";
    const theirs = Object.entries(page().shortcuts?.() ?? {}).filter(([, [, , needs]]) => mayRun || needs !== NEEDS_EXEC);
    return { ...ours, ...Object.fromEntries(theirs) };
  };
  const help = () => {
    const table = Object.entries({ ...known(), Esc: ["Close, or leave a field"] });
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
    const shortcut = known()[event.key];
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
