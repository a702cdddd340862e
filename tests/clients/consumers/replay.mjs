// Prints every message of a project's execs from a sequence of the log on, and goes on with what
// comes: each once, in the log's order.
//
//     node replay.mjs nats://127.0.0.1:4222 demo 1
import { DeliverPolicy, jetstream } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

const [url, project, begin] = process.argv.slice(2);
const client = await connect({ servers: url, maxReconnectAttempts: -1 });
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
