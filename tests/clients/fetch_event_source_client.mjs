// Follows an exec with the npm package `@microsoft/fetch-event-source` and prints each event as one
// JSON line. As its documentation advises, it comes again when the server ends the stream, and ends
// when it is answered 204.
import { createRequire } from "node:module";

// What the package takes from a browser and Node does not have.
globalThis.window = globalThis;
globalThis.document = { addEventListener() {}, removeEventListener() {}, hidden: false };

const require = createRequire(`${process.argv[2]}/`);
const { fetchEventSource } = require("@microsoft/fetch-event-source");
const end = new AbortController();
await fetchEventSource(process.argv[3], {
  signal: end.signal,
  openWhenHidden: true,
  onopen(response) {
    if (response.status === 204) return end.abort();
    if (response.status !== 200) throw new Error(`status ${response.status}`);
  },
  onmessage(event) {
    console.log(JSON.stringify([event.id, event.event, event.data]));
  },
  onclose() {
    throw new Error("come again");
  },
});
