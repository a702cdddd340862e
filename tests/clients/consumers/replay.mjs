// Prints every message of a project's execs from a sequence of the log on, and goes on with what
// comes: each once, in the log's order.
//
//     node replay.mjs nats://127.0.0.1:4222 demo 1
import { readFileSync } from "node:fs";
import { DeliverPolicy, jetstream } from "@nats-io/jetstream";
import { connect, nkeyAuthenticator } from "@nats-io/transport-node";

const [url, project, begin] = process.argv.slice(2);
// NATS_NKEY: the file with the seed of a user who may read, where the server wants one.
const seed = process.env.NATS_NKEY && readFileSync(process.env.NATS_NKEY, "utf8").trim();
const authenticator = seed && nkeyAuthenticator(new TextEncoder().encode(seed));
const { username: user, password: pass } = new URL(url); // the library takes neither from it
const client = await connect({ servers: url, user, pass, authenticator, maxReconnectAttempts: -1 });
const consumer = await jetstream(client).consumers.get("RDEV_EXEC", {
  filter_subjects: `rdev.exec.${project}.>`,
  deliver_policy: DeliverPolicy.StartSequence,
  opt_start_seq: Number(begin),
});
let following = Number(begin); // the only state: keep it, and begin there the next time
for await (const stored of await consumer.consume()) {
  if (stored.seq < following) continue; // a repeat
  console.log(JSON.stringify([stored.seq, stored.json()]));
  following = stored.seq + 1;
}
