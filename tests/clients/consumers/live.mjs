// Prints every message of a project's execs as it happens, from now on: each once, and those of
// one exec in order.
//
//     node live.mjs nats://127.0.0.1:4222 demo
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, nkeyAuthenticator } from "@nats-io/transport-node";

const [url, project] = process.argv.slice(2);
// NATS_NKEY: the file with the seed of a user who may read, where the server wants one.
const seed = process.env.NATS_NKEY && readFileSync(process.env.NATS_NKEY, "utf8").trim();
const authenticator = seed && nkeyAuthenticator(new TextEncoder().encode(seed));
const { username: user, password: pass } = new URL(url); // the library takes neither from it
const client = await connect({ servers: url, user, pass, authenticator, maxReconnectAttempts: -1 });
const log = await jetstreamManager(client);
const live = client.subscribe(`rdev.live.${project}.>`);
await client.flush();
const begin = (await log.streams.info("RDEV_EXEC")).state.last_seq;
let newest = begin; // the last sequence that was shown
const seen = new Map(); // exec: the sequence of its last message
console.error("following");

function show(sequence, message) {
  const exec = `${message.session}/${message.stream}`;
  if (sequence <= (seen.get(exec) ?? begin)) return; // a repeat
  seen.set(exec, sequence);
  newest = Math.max(newest, sequence);
  console.log(JSON.stringify([sequence, message]));
}

async function readLog(subject, after) {
  for (;;) {
    try {
      const query = { seq: after + 1, next_by_subj: subject };
      const stored = await log.streams.getMessage("RDEV_EXEC", query);
      if (stored === null) return; // the log has no more
      show(stored.seq, stored.json());
      after = stored.seq;
    } catch (error) {
      console.error(error.message);
      await setTimeout(1000); // the server is away
    }
  }
}

async function readAfterReconnects() {
  let doubt = newest;
  for await (const status of client.status()) {
    if (status.type === "disconnect") doubt = newest;
    if (status.type === "reconnect") await readLog(`rdev.exec.${project}.>`, doubt);
  }
}
readAfterReconnects();

for await (const received of live) {
  const message = received.json();
  const { session, stream } = message;
  const before = seen.get(`${session}/${stream}`) ?? begin;
  if (message.prev > before) {
    // The message before this one never came.
    await readLog(`rdev.exec.${project}.${session}.${stream}.>`, before);
  }
  show(Number(received.headers.get("Nats-Sequence")), message);
}
