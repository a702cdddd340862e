"""Follows an exec with httpx-sse and prints each event as one JSON line."""

import json
import sys

import httpx
from httpx_sse import connect_sse

with httpx.Client(timeout=60) as client:
    with connect_sse(client, "GET", sys.argv[1]) as source:
        for event in source.iter_sse():
            print(json.dumps([event.id, event.event, event.data]), flush=True)
