"""Writes the exact bytes that an exec printed, and checks them against the sums in `complete`.

    python3 exact_bytes.py nats://127.0.0.1:4222 demo SESSION EXEC stdout > output
"""

import asyncio
import base64
import hashlib
import json
import os
import sys

import nats
from nats.js.errors import NotFoundError

BEGIN, END, PARTIAL_END = '{"event":', "}", ',"partial":true}'


def events(payload: bytes):
    """Each event of a message, with its own text: agents' lines are exact only as text."""
    text = payload.decode()
    at = text.find(',"events":[') + len(',"events":[')
    while text[at - 1] != "]":
        event, end = json.JSONDecoder().raw_decode(text, at)
        yield event, text[at:end]
        at = end + 1


def agent_line(data: str) -> bytes:
    """The line in the data of a `claude_event` or `codex_event`."""
    if data.endswith(PARTIAL_END):
        return data[len(BEGIN) : -len(PARTIAL_END)].encode()
    return data[len(BEGIN) : -len(END)].encode() + b"\n"


def piece(data: dict) -> bytes:
    """The bytes of an `output` or `error`: a line and its newline, unless it is partial."""
    if "line_base64" in data:
        line = base64.b64decode(data["line_base64"])
    else:
        line = data["line"].encode()
    return line if data.get("partial") else line + b"\n"


async def main(url: str, project: str, session: str, stream: str, wanted: str) -> None:
    # NATS_NKEY: the file with the seed of a user who may read, where the server wants one.
    client = await nats.connect(url, nkeys_seed=os.environ.get("NATS_NKEY"))
    log = client.jetstream()
    subject = f"rdev.exec.{project}.{session}.{stream}.>"
    digest, sequence, fragments = hashlib.sha256(), 0, ""
    while True:
        try:
            stored = await log.get_msg("RDEV_EXEC", sequence + 1, subject, next=True)
        except NotFoundError:
            sys.exit("the exec has not ended yet, or the log no longer has it")
        sequence = stored.seq
        if b',"events":[' not in stored.data:
            continue  # command, admitted, started, resumed
        for event, text in events(stored.data):
            if event["type"] == "complete":
                told = event["data"][f"{wanted}_sha256"]
                sys.exit(None if told == digest.hexdigest() else f"not the bytes of {told}")
            if "fragment" in event:  # of a line that is too long for one message
                part = event["fragment"]
                fragments = part["text"] if part["index"] == 0 else fragments + part["text"]
                if not part["last"]:
                    continue
                source, joined = "stdout", agent_line(fragments)
            elif event["type"] in ("claude_event", "codex_event"):
                begin = f'{{"type":"{event["type"]}","data":'
                source, joined = "stdout", agent_line(text[len(begin) : -len("}")])
            elif event["type"] in ("output", "error"):
                source, joined = event["data"].get("stream", "stderr"), piece(event["data"])
            else:
                continue  # of a later version
            if source == wanted:
                digest.update(joined)
                sys.stdout.buffer.write(joined)


asyncio.run(main(*sys.argv[1:]))
