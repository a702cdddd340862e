"""Subscribes to the live subjects of an exec with nats-py, says "ready", and prints the sequence
and payload of each message as one JSON line until `complete`."""

import asyncio
import json
import sys

import nats


async def main(url: str, subject: str) -> None:
    client = await nats.connect(url)
    subscription = await client.subscribe(subject)
    await client.flush()
    print("ready", flush=True)
    async for message in subscription.messages:
        payload = json.loads(message.data)
        print(json.dumps([int(message.headers["Nats-Sequence"]), payload]), flush=True)
        if payload["kind"] == "complete":
            break
    await client.close()


asyncio.run(main(sys.argv[1], sys.argv[2]))
