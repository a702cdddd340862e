// Follows an exec with the npm package `eventsource` and prints each event as one JSON line. It
// ends when the client itself gives up reconnecting, which it does after a 204.
import { createRequire } from "node:module";

const require = createRequire(`${process.argv[2]}/`);
const { EventSource } = require("eventsource");
const source = new EventSource(process.argv[3]);
const names = ["connected", "caught_up", "output", "claude_event", "codex_event", "complete", "gap", "reconnect", "message"];
for (const name of names) {
  source.addEventListener(name, (event) => {
    console.log(JSON.stringify([event.lastEventId, name, event.data]));
  });
}
source.onerror = () => {
  if (source.readyState === EventSource.CLOSED) process.exit(0);
};
