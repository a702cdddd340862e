"""Follows an exec with the Python client, and prints each event with its bytes as a line of JSON.

    python3 follow.py blocking|asyncio URL SESSION EXEC
"""

import asyncio
import base64
import json
import sys

from rdev_client import AsyncClient, CaughtUp, Client, Completed, Queued


def show(event):
    if isinstance(event, (CaughtUp, Queued)):
        return
    data = base64.b64encode(getattr(event, "data", b"")).decode()
    complete = event.complete if isinstance(event, Completed) else None
    print(json.dumps([event.id, getattr(event, "stream", ""), data, complete]), flush=True)


def blocking(url, session, exec_id):
    with Client(url, "demo") as rdev:
        for event in rdev.session(session).attach(exec_id).follow():
            show(event)


async def with_asyncio(url, session, exec_id):
    async with AsyncClient(url, "demo") as rdev:
        async for event in rdev.session(session).attach(exec_id).follow():
            show(event)


if sys.argv[1] == "blocking":
    blocking(*sys.argv[2:])
else:
    asyncio.run(with_asyncio(*sys.argv[2:]))
