// What a terminal makes of a line: colours and attributes (SGR), and text that was written over. All
// other sequences are left out. A pen that is null is the plain one.

const ESCAPES = /\x1b(?:\[([0-9;:?<=>!]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])|[\x00-\x08\x0b-\x1f\x7f]/g;
const BLANK = { character: " ", pen: null };
const CUBE = [0, 95, 135, 175, 215, 255];
const FLAGS = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike" };
const OFF = { 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"], 29: ["strike"] };

/** Whether a line is its own text, in a plain pen. */
export function isPlain(text) {
  return !/[\x00-\x08\x0b-\x1f\x7f]/.test(text);
}

/** The text without what only a terminal sees. */
export function plainText(text) {
  return isPlain(text) ? text : spans(text, null).spans.map((span) => span.text).join("");
}

/** The pieces of a line, each with its pen, and the pen that is left at its end. */
export function spans(text, pen) {
  let cells = [];
  let at = 0;
  let last = 0;
  const write = (piece) => {
    while (piece && cells.length < at) cells.push(BLANK);
    for (const character of piece) cells[at++] = { character, pen };
  };
  // A carriage return at the end is half of a line end.
  text = text.replace(/\r+$/, "");
  for (const found of text.matchAll(ESCAPES)) {
    write(text.slice(last, found.index));
    last = found.index + found[0].length;
    if (found[0] === "\r") at = 0;
    else if (found[0] === "\b") at = Math.max(0, at - 1);
    else if (found[2] === "m") pen = changed(pen, found[1]);
    else if (found[2] === "K" && (found[1] === "" || found[1] === "0")) cells.length = Math.min(cells.length, at);
    else if (found[2] === "K" && found[1] === "1") cells.fill(BLANK, 0, at);
    else if (found[2] === "K") cells = [];
    else if (found[2] === "G") at = Math.min(cells.length, Math.max(0, Number(found[1] || 1) - 1));
  }
  write(text.slice(last));
  return { spans: joined(cells), pen };
}

function joined(cells) {
  const result = [];
  for (const { character, pen } of cells) {
    const before = result.at(-1);
    if (before && before.pen === pen) before.text += character;
    else result.push({ text: character, pen });
  }
  return result;
}

function changed(pen, parameters) {
  const next = { ...pen };
  const codes = parameters.split(/[;:]/).map(Number);
  for (let index = 0; index < codes.length; index += 1) {
    const code = codes[index];
    if (code === 0) Object.keys(next).forEach((name) => delete next[name]);
    else if (FLAGS[code]) next[FLAGS[code]] = true;
    else if (OFF[code]) OFF[code].forEach((name) => delete next[name]);
    else if (code >= 30 && code <= 37) next.fg = code - 30;
    else if (code >= 90 && code <= 97) next.fg = code - 82;
    else if (code === 39) delete next.fg;
    else if (code >= 40 && code <= 47) next.bg = code - 40;
    else if (code >= 100 && code <= 107) next.bg = code - 92;
    else if (code === 49) delete next.bg;
    else if (code === 38 || code === 48) {
      const isIndexed = codes[index + 1] === 5;
      const colour = isIndexed ? indexed(codes[index + 2]) : rgb(codes.slice(index + 2, index + 5));
      next[code === 38 ? "fg" : "bg"] = colour;
      index += isIndexed ? 2 : 4;
    }
  }
  return Object.keys(next).length > 0 ? next : null;
}

function indexed(number) {
  if (!(number >= 0 && number <= 255)) return undefined;
  if (number < 16) return number;
  if (number >= 232) return rgb(Array(3).fill(8 + (number - 232) * 10));
  const cube = number - 16;
  return rgb([CUBE[Math.floor(cube / 36)], CUBE[Math.floor(cube / 6) % 6], CUBE[cube % 6]]);
}

const rgb = (parts) => `rgb(${parts.map((part) => Math.min(255, part || 0)).join(" ")})`;

/** Puts the pieces into an element. Colours of the palette are classes, all others are as asked for. */
export function paint(element, pieces) {
  for (const { text, pen } of pieces) {
    if (!pen) {
      element.append(text);
      continue;
    }
    const span = document.createElement("span");
    span.textContent = text;
    for (const name of Object.values(FLAGS)) if (pen[name]) span.classList.add(name);
    colour(span, "fg", "color", pen.fg);
    colour(span, "bg", "backgroundColor", pen.bg);
    element.append(span);
  }
}

function colour(span, prefix, property, value) {
  if (typeof value === "number") span.classList.add(`${prefix}${value}`);
  else if (value) span.style[property] = value;
}
