// Prints how each exec of a project ended, whenever this program runs: the durable consumer keeps
// the place. Told at least once: sequence, session, exec, and the data of `complete`.
//
//     node completes.mjs nats://127.0.0.1:4222 demo billing
import { readFileSync } from "node:fs";
import { AckPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, nkeyAuthenticator } from "@nats-io/transport-node";

const [url, project, name] = process.argv.slice(2);
// NATS_NKEY: the file with the seed of a user who may read, where the server wants one.
const seed = process.env.NATS_NKEY && readFileSync(process.env.NATS_NKEY, "utf8").trim();
const authenticator = seed && nkeyAuthenticator(new TextEncoder().encode(seed));
const { username: user, password: pass } = new URL(url); // the library takes neither from it
const client = await connect({ servers: url, user, pass, authenticator, maxReconnectAttempts: -1 });
await (await jetstreamManager(client)).consumers.add("RDEV_EXEC", {
  durable_name: name,
  ack_policy: AckPolicy.Explicit,
  filter_subject: `rdev.exec.${project}.*.*.complete`,
});
const consumer = await jetstream(client).consumers.get("RDEV_EXEC", name);
for await (const stored of await consumer.consume()) {
  const message = stored.json();
  const { data } = message.events.find((event) => event.type === "complete");
  console.log(JSON.stringify([stored.seq, message.session, message.stream, data]));
  stored.ack(); // only when it is dealt with: until then it is told again
}
