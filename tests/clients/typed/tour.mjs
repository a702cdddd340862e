// Everything else that the TypeScript client does, against a real rdev. Prints `away` when the log is to
// be taken away for a while, and `done` when all was as it should be.
//
//     node tour.mjs CLIENT URL SESSION-AND-EXEC-WITH-A-GAP
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";

const [client, url, gap] = process.argv.slice(2);
const rdev_client = await import(client);
const { Rdev, ConflictError, ExpiredError, IncompleteError, NotFoundError, UnauthorizedError } = rdev_client;
const NOBODY = "01930000-0000-7000-8000-000000000001";

const all = async (items) => {
  const found = [];
  for await (const item of items) found.push(item);
  return found;
};
const refusal = async (kind, code, promise) => {
  const error = await promise.then(() => assert.fail(`${code} was not thrown`), (error) => error);
  assert(error instanceof kind && error.code === code, error);
  return error;
};

async function commands(session) {
  const ran = await session.shell("printf 'a\\r\\0\\377b'; echo err >&2; exit 3");
  const { complete, stdout, stderr } = await ran.collect();
  assert.deepEqual([...stdout], [97, 13, 0, 255, 98]);
  assert.equal(new TextDecoder().decode(stderr), "err\n");
  assert.equal(complete.exit_code, 3);
  assert.deepEqual(await ran.result(), complete);
  assert.deepEqual(await ran.output("stdout", 3), stdout.subarray(3));
  const end = (await all(ran.follow())).at(-1);
  assert.deepEqual(await all(ran.follow({ after: end.id })), []);
  assert.equal((await all(ran.follow({ tail: 1 })))[0].number, end.number);
  assert.equal((await all(ran.timeline()))[0].event, "command");
  assert.equal((await ran.view()).attempts, 1);

  const first = await session.shell("echo once", { stream_id: "own-ts" });
  assert.equal(first.id, (await session.shell("echo once", { stream_id: "own-ts" })).id);
  await refusal(ConflictError, "stream_id_in_use", session.shell("echo twice", { stream_id: "own-ts" }));
  await refusal(rdev_client.InvalidRequestError, "missing_command", session.shell(""));
}

async function orders(session) {
  const data = Buffer.from(Array.from({ length: 1_280_000 }, (_, at) => at % 256));
  const reading = await session.shell("sha256sum", { stdin_open: true });
  await reading.write(data.subarray(0, 1000));
  // Another one, which has written nothing yet, goes on where the first one ended.
  const other = session.attach(reading.id);
  await other.write(data.subarray(1000));
  await other.closeInput();
  const { stdout } = await reading.collect();
  assert.equal(Buffer.from(stdout).toString().split(" ")[0], createHash("sha256").update(data).digest("hex"));

  const sleeping = await session.shell("trap 'echo told' USR1; echo up; while :; do sleep 0.02; done");
  for await (const event of sleeping.follow()) {
    if (event.type === "output" && event.text === "up") await sleeping.signal("USR1");
    if (event.type === "output" && event.text === "told") await sleeping.cancel();
  }
  assert.equal((await sleeping.result()).outcome, "canceled");
  await refusal(ConflictError, "exec_complete", sleeping.cancel());
}

async function agents(rdev, session) {
  const run = await session.claude("simple");
  const said = (await all(run.follow())).filter((event) => event.type === "claude");
  assert.equal(said[0].message.type, "system");
  const result = said.at(-1).message;
  assert(result.type === "result" && result.result === "mock reply: hello world");

  const asking = await session.claude("ask a echo allowed", { permissions: "ask" });
  const answers = [];
  for await (const event of asking.follow()) {
    if (event.type === "approval") {
      const [pending] = await session.approvals({ status: "pending" });
      assert.equal(pending.approval_id, event.approval.approval_id);
      const answered = await asking.answer(pending.approval_id, { decision: "allow" });
      assert.equal(answered.status, "allowed");
    }
    if (event.type === "approval_answered") answers.push(event.answer.decision);
    if (event.type === "complete") assert(event.complete.ok);
  }
  assert.deepEqual(answers, ["allow"]);
  const { conversation_id } = await session.view();
  let roles = [];
  while (!roles.includes("assistant")) roles = (await all(rdev.messages(conversation_id))).map(({ role }) => role);
  assert.equal(roles[0], "user");
}

async function ofTheSession(rdev, session) {
  const following = session.follow({ tail: 0 });
  assert.equal((await following.next()).value.exec, "");
  const ran = [await session.shell("echo a"), await session.shell("echo b")];
  const open = new Set(ran.map(({ id }) => id));
  const texts = new Map();
  for await (const event of following) {
    if (event.type === "output") texts.set(event.exec, event.text);
    if (event.type === "complete") open.delete(event.exec);
    if (open.size === 0) break;
  }
  assert.deepEqual(ran.map(({ id }) => texts.get(id)), ["a", "b"]);
  assert((await ran[0].ticket()).url.startsWith("/projects/demo/"));
  const sessions = await all(rdev.sessions({ status: "active" }));
  assert(sessions.some(({ id }) => id === session.id));

  const never = await session.shell("sleep 60");
  const ending = AbortSignal.timeout(100);
  await assert.rejects(all(never.follow({ signal: ending })), { name: "TimeoutError" });
  await never.cancel();
}

async function expired(rdev, session, exec) {
  const short = rdev.session(session).attach(exec);
  const events = await all(short.follow());
  assert.deepEqual(events.filter(({ type }) => type === "gap").map(({ gap }) => gap.requested), [1]);
  await assert.rejects(short.collect(), IncompleteError);
  const error = await refusal(ExpiredError, "events_expired", short.follow({ strict: true }).next());
  const left = await all(short.follow({ after: error.problem.resume_from, strict: true }));
  assert.deepEqual(left.at(-1), events.at(-1));
}

const rdev = new Rdev({ url, project: "demo" });
const session = await rdev.createSession({ pod: "tour-typescript" });
await refusal(NotFoundError, "not_found", rdev.session(NOBODY).view());
await commands(session);
await orders(session);
await agents(rdev, session);
await ofTheSession(rdev, session);
await expired(rdev, ...gap.split("/"));
console.log("away");
await once(process.stdin, "data");
process.stdin.pause();
await (await session.shell("echo run >> runs", { stream_id: "patient-ts" })).collect();
const { stdout } = await (await session.shell("cat runs")).collect();
assert.equal(new TextDecoder().decode(stdout), "run\n");
assert.equal((await session.end()).status, "ended");
const stranger = new Rdev({ url, project: "demo", key: async () => "rdev_0123456789abcdef_wrong" });
await refusal(UnauthorizedError, "invalid_credential", stranger.session(NOBODY).view());
console.log("done");
