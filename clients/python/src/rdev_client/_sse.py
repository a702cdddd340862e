"""Server-sent events, as the HTML standard defines them, from bytes as they come."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterator, List, Optional

_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass
class Frame:
    """One event."""

    #: The last id that was sent, with this event or before it.
    id: str
    event: str
    data: str
    #: The reconnection time that came with it, in milliseconds.
    retry: Optional[int] = None


class Parser:
    """Of one connection. An event whose blank line never came is not an event."""

    def __init__(self) -> None:
        self._parts: List[bytes] = []
        self._ended_in_return = False
        self._id = ""
        self._event = ""
        self._data: List[str] = []
        self._retry: Optional[int] = None

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """The events that end in this piece."""
        for line in self._lines(chunk):
            frame = self._line(line)
            if frame is not None:
                yield frame

    def _lines(self, chunk: bytes) -> Iterator[str]:
        if not chunk:
            return
        if self._ended_in_return and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._ended_in_return = chunk.endswith(b"\r")
        *pieces, rest = _LINE_END.split(chunk)
        for piece in pieces:
            # A line in many chunks is joined once.
            line = b"".join([*self._parts, piece])
            self._parts = []
            yield line.decode("utf-8", "replace")
        if rest:
            self._parts.append(rest)

    def _line(self, line: str) -> Optional[Frame]:
        if line == "":
            frame = None
            if self._data:
                event = self._event or "message"
                frame = Frame(self._id, event, "\n".join(self._data), self._retry)
            self._event, self._data, self._retry = "", [], None
            return frame
        field, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._event = value
        elif field == "id" and "\0" not in value:
            self._id = value
        elif field == "retry" and value.isascii() and value.isdigit():
            self._retry = int(value)
        return None
