"""Prints how each exec of a project ended, whenever this program runs: the durable consumer keeps
the place. Told at least once: sequence, session, exec, and the data of `complete`.

    python3 completes.py nats://127.0.0.1:4222 demo billing
"""

import asyncio
import json
import os
import sys

import nats
import nats.errors

QUIET_SECONDS = 5


async def main(url: str, project: str, name: str) -> None:
    # NATS_NKEY: the file with the seed of a user who may read, where the server wants one.
    client = await nats.connect(
        url, nkeys_seed=os.environ.get("NATS_NKEY"), max_reconnect_attempts=-1
    )
    log = client.jetstream()
    subject = f"rdev.exec.{project}.*.*.complete"
    consumer = await log.pull_subscribe(subject, durable=name, stream="RDEV_EXEC")
    while True:
        try:
            [stored] = await consumer.fetch(1, QUIET_SECONDS)
        except nats.errors.TimeoutError:
            continue
        except nats.errors.Error as error:
            print(error, file=sys.stderr)
            await asyncio.sleep(1)  # the server is away
            continue
        message = json.loads(stored.data)
        complete = next(e["data"] for e in message["events"] if e["type"] == "complete")
        sequence = stored.metadata.sequence.stream
        print(json.dumps([sequence, message["session"], message["stream"], complete]), flush=True)
        await stored.ack()  # only when it is dealt with: until then it is told again


asyncio.run(main(*sys.argv[1:]))
