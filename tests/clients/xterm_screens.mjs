// Draws what came out of a terminal with xterm.js, once from the beginning, and once for each of the
// screens that it is given: it begins with the screen and goes on behind it.
//
// Arguments: where the packages are. Standard input: {"items", "screens"}, items as in
// pyte_screens.py, each screen {"after", "cols", "rows", "ansi"}: it includes so many items. Standard
// output: {"stayed", "came"}: the states after each item, and those of each screen from its own on.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.argv[2]}/`);
const { Terminal } = require("@xterm/headless");

const { items, screens } = JSON.parse(readFileSync(0, "utf8"));

function open({ cols, rows }) {
  return new Terminal({ cols, rows, scrollback: 0, allowProposedApi: true });
}

function write(terminal, bytes) {
  return new Promise((done) => terminal.write(bytes, done));
}

async function take(terminal, item) {
  if (item.base64 === undefined) terminal.resize(item.cols, item.rows);
  else await write(terminal, Buffer.from(item.base64, "base64"));
}

function state(terminal) {
  const { active } = terminal.buffer;
  const rows = [];
  for (let row = 0; row < terminal.rows; row++) {
    rows.push(active.getLine(active.baseY + row).translateToString(true).trimEnd());
  }
  const cursor = [Math.min(active.cursorX, terminal.cols - 1), active.cursorY];
  return { rows, cursor, modes: terminal.modes };
}

async function follow(terminal, rest) {
  const states = [state(terminal)];
  for (const item of rest) {
    await take(terminal, item);
    states.push(state(terminal));
  }
  return states;
}

const stayed = await follow(open(items[0]), items.slice(1));
const came = [];
for (const screen of screens) {
  const terminal = open(screen);
  await write(terminal, screen.ansi);
  came.push(await follow(terminal, items.slice(screen.after)));
}
process.stdout.write(JSON.stringify({ stayed, came }));
