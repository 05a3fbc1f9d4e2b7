// What a terminal shows of a program's bytes. Standard input: {"columns", "rows", "chunks": [base64, …]}; standard
// output: {"screens": [the screen after each chunk], "whole": the last one with all that has scrolled off}.
// A screen is a list of lines, a line a list of runs: [text, [foreground, background, attributes]]. A colour is null
// (the terminal's own), a number of its palette or "#rrggbb"; attributes are words apart by spaces, as rich takes them.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const modules = new URL("../.local/npm/node_modules/", import.meta.url);
const { Terminal } = createRequire(modules)("@xterm/headless");

const asked = JSON.parse(readFileSync(0, "utf8"));
const terminal = new Terminal({
  cols: asked.columns,
  rows: asked.rows,
  scrollback: 100_000,
  allowProposedApi: true,
});

function colour(isDefault, isRgb, value) {
  if (isDefault) return null;
  return isRgb ? "#" + value.toString(16).padStart(6, "0") : value;
}

function styleOf(cell) {
  const attributes = [];
  if (cell.isBold()) attributes.push("bold");
  if (cell.isDim()) attributes.push("dim");
  if (cell.isItalic()) attributes.push("italic");
  if (cell.isUnderline()) attributes.push("underline");
  if (cell.isStrikethrough()) attributes.push("strike");
  if (cell.isInverse()) attributes.push("reverse");
  return [
    colour(cell.isFgDefault(), cell.isFgRGB(), cell.getFgColor()),
    colour(cell.isBgDefault(), cell.isBgRGB(), cell.getBgColor()),
    attributes.join(" "),
  ];
}

function runsOf(line) {
  const runs = [];
  let last = "";
  for (let column = 0; column < terminal.cols; column++) {
    const cell = line.getCell(column);
    if (cell.getWidth() === 0) continue; // the other half of a wide character
    const style = styleOf(cell);
    const name = JSON.stringify(style);
    const text = cell.getChars() || " ";
    if (name === last) runs.at(-1)[0] += text;
    else runs.push([text, style]);
    last = name;
  }
  return runs;
}

function linesOf(first, count) {
  const buffer = terminal.buffer.active;
  return Array.from({ length: count }, (_, number) => runsOf(buffer.getLine(first + number)));
}

const screens = [];
for (const chunk of asked.chunks) {
  await new Promise((done) => terminal.write(Buffer.from(chunk, "base64"), done));
  screens.push(linesOf(terminal.buffer.active.baseY, terminal.rows));
}
process.stdout.write(JSON.stringify({ screens, whole: linesOf(0, terminal.buffer.active.length) }));
