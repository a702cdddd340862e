"""Prints every message of a project's execs from a sequence of the log on, and goes on with what
comes: each once, in the log's order.

    python3 replay.py nats://127.0.0.1:4222 demo 1
"""

import asyncio
import json
import os
import sys

import nats
import nats.errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

BATCH = 100
QUIET_SECONDS = 5


async def main(url: str, project: str, begin: str) -> None:
    # NATS_NKEY: the file with the seed of a user who may read, where the server wants one.
    client = await nats.connect(
        url, nkeys_seed=os.environ.get("NATS_NKEY"), max_reconnect_attempts=-1
    )
    log = client.jetstream()
    following = int(begin)  # the only state: keep it, and begin there the next time
    while True:
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=following,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=60,  # seconds after which the server forgets a vanished consumer
        )
        try:
            consumer = await log.pull_subscribe(
                f"rdev.exec.{project}.>", stream="RDEV_EXEC", config=config
            )
            pending = 1
            while True:
                try:
                    # What is there at once; of what is still to come, one.
                    batch = await consumer.fetch(max(1, min(pending, BATCH)), QUIET_SECONDS)
                except nats.errors.TimeoutError:
                    continue
                for stored in batch:
                    sequence = stored.metadata.sequence.stream
                    pending = stored.metadata.num_pending
                    if sequence >= following:  # else a repeat
                        print(json.dumps([sequence, json.loads(stored.data)]), flush=True)
                        following = sequence + 1
        except (nats.errors.Error, nats.errors.TimeoutError) as error:
            print(error, file=sys.stderr)
            await asyncio.sleep(1)  # the consumer is gone: another one goes on where it ended


asyncio.run(main(*sys.argv[1:]))
