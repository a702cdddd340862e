// Follows an exec with the TypeScript client, and prints each event with its bytes as a line of JSON.
//
//     node follow.mjs CLIENT URL SESSION EXEC
const [client, url, session, id] = process.argv.slice(2);
const { Rdev } = await import(client);

for await (const event of new Rdev({ url, project: "demo" }).session(session).attach(id).follow()) {
  if (event.type === "caught_up" || event.type === "queued") continue;
  const data = Buffer.from(event.bytes ?? []).toString("base64");
  console.log(JSON.stringify([event.id, event.stream ?? "", data, event.complete ?? null]));
}
