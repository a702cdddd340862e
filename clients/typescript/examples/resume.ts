// Writes what an exec prints into a file. Kill it whenever you like and start it again: the file has
// every byte once, because the place in the file and the place in the events are kept together.
//
//     node dist/examples/resume.js http://127.0.0.1:8080 demo SESSION EXEC output.txt

import { closeSync, existsSync, ftruncateSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from "node:fs";
import { Rdev } from "../src/index.js";

const [url = "", project = "", session = "", id = "", file = ""] = process.argv.slice(2);
const key = process.env.RDEV_API_KEY;

interface Kept {
  /** The id of the last event that is in the file. */
  after?: string;
  /** How long the file is with it. */
  length: number;
}

const keptIn = `${file}.cursor`;
const kept: Kept = existsSync(keptIn) ? (JSON.parse(readFileSync(keptIn, "utf8")) as Kept) : { length: 0 };

/** Whole or not at all: a file appears under its name by a rename. */
function keep(): void {
  writeFileSync(`${keptIn}.new`, JSON.stringify(kept));
  renameSync(`${keptIn}.new`, keptIn);
}

const output = openSync(file, existsSync(file) ? "r+" : "w+");
// What was written behind the place that was kept is written again.
ftruncateSync(output, kept.length);

const exec = new Rdev({ url, project, ...(key === undefined ? {} : { key }) }).session(session).attach(id);
for await (const event of exec.follow({ after: kept.after })) {
  if (event.type === "gap") throw new Error(`events have expired: ${JSON.stringify(event.gap)}`);
  if (event.type === "output") {
    writeSync(output, event.bytes, 0, event.bytes.length, kept.length);
    kept.length += event.bytes.length;
  }
  kept.after = event.id;
  keep();
  if (event.type === "complete") console.log(`${event.complete.outcome} ${event.complete.exit_code}`);
}
closeSync(output);
