"""Prints every message of a project's execs as it happens, from now on: each once, and those of
one exec in order.

    python3 live.py nats://127.0.0.1:4222 demo
"""

import asyncio
import json
import os
import sys

import nats
import nats.errors
from nats.js.errors import NotFoundError

QUIET_SECONDS = 1


async def main(url: str, project: str) -> None:
    newest = 0  # the last sequence that was shown
    doubt = None  # behind this sequence something may have been missed

    async def may_have_missed(*_) -> None:
        nonlocal doubt
        doubt = newest if doubt is None else doubt

    client = await nats.connect(
        url,
        # The file with the seed of a user who may read, where the server wants one.
        nkeys_seed=os.environ.get("NATS_NKEY"),
        max_reconnect_attempts=-1,
        disconnected_cb=may_have_missed,
        error_cb=may_have_missed,
    )
    live = await client.subscribe(f"rdev.live.{project}.>")
    await client.flush()
    log = client.jetstream()
    newest = begin = (await log.stream_info("RDEV_EXEC")).state.last_seq
    seen = {}  # exec: the sequence of its last message
    print("following", file=sys.stderr, flush=True)

    def show(sequence: int, message: dict) -> None:
        nonlocal newest
        exec_id = message["session"], message["stream"]
        if sequence > seen.get(exec_id, begin):  # else a repeat
            seen[exec_id] = sequence
            newest = max(newest, sequence)
            print(json.dumps([sequence, message]), flush=True)

    async def read_log(subject: str, after: int) -> None:
        while True:
            try:
                stored = await log.get_msg("RDEV_EXEC", after + 1, subject, next=True)
            except NotFoundError:
                return  # the log has no more
            except (nats.errors.Error, nats.errors.TimeoutError) as error:
                print(error, file=sys.stderr)
                await asyncio.sleep(QUIET_SECONDS)  # the server is away
                continue
            show(stored.seq, json.loads(stored.data))
            after = stored.seq

    while True:
        if doubt is not None:
            await read_log(f"rdev.exec.{project}.>", doubt)
            doubt = None
        try:
            received = await live.next_msg(timeout=QUIET_SECONDS)
        except nats.errors.TimeoutError:
            continue
        message = json.loads(received.data)
        session, stream = message["session"], message["stream"]
        before = seen.get((session, stream), begin)
        if message["prev"] > before:  # the message before this one never came
            await read_log(f"rdev.exec.{project}.{session}.{stream}.>", before)
        show(int(received.headers["Nats-Sequence"]), message)


asyncio.run(main(*sys.argv[1:]))
