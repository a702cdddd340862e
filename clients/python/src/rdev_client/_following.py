"""How an event stream is followed across whatever breaks: the part that speaks to nobody."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Dict, Iterator, Optional

from ._calls import Call
from ._retry import Retry
from ._sse import Frame, Parser
from .errors import RdevError, TransportError
from .events import UNNUMBERED, Completed, Event, Gap, decode


@dataclass(frozen=True)
class Where:
    """Where to begin."""

    after: Optional[str]
    tail: Optional[int]
    strict: bool


class Following:
    """Events, each once and in order. Its user sends `call()`, gives what comes to `receive`, and comes
    again after `delay_after`, until it `is_over`.
    """

    def __init__(self, call: Call[None], exec_id: str, where: Where, patience: float) -> None:
        params = {**call.params, "strict": "true" if where.strict else None}
        self._call = replace(call, params=params)
        self._exec_id = exec_id
        self._cursor = after = where.after
        self._tail = where.tail
        self._retry = Retry(patience)
        self._parser = Parser()
        self._told: Optional[float] = None
        self._last: Dict[str, int] = {}
        # What comes next may have any number.
        self._gap = where.tail is not None
        if after is not None and after.count("-") == 2:
            _, number, tag = after.split("-")
            self._last[tag] = int(number) if number.isdigit() else 0
        #: Nothing will come any more.
        self.is_over = False
        #: The server wants the reader elsewhere.
        self.is_sent_away = False

    def call(self) -> Call[None]:
        """A request for what is behind the last event, on a new connection."""
        self._parser, self._told, self.is_sent_away = Parser(), None, False
        if self._cursor is None:
            return replace(self._call, params={**self._call.params, "tail": self._tail})
        return replace(self._call, headers={**self._call.headers, "last-event-id": self._cursor})

    def delay_after(self, failure: Optional[RdevError]) -> float:
        """How many seconds to wait before coming again; raises `failure` where there is no point in it."""
        if failure is None:
            failure = TransportError("the event stream ended")
        return self._retry.delay_after(failure, told=self._told)

    def receive(self, chunk: bytes) -> Iterator[Event]:
        """The events in the next bytes."""
        for frame in self._parser.feed(chunk):
            if frame.id:
                self._cursor = frame.id
            event = self._event(frame)
            if event is not None:
                yield event
            if self.is_over or self.is_sent_away:
                return

    def _event(self, frame: Frame) -> Optional[Event]:
        seconds = None if frame.retry is None else frame.retry / 1000
        if frame.event == "connected":
            if seconds is not None:
                self._retry.start_at(seconds)
            return None
        if frame.event == "reconnect":
            self._told, self.is_sent_away = seconds, True
            return None
        self._retry.progress()
        if frame.event == "heartbeat":
            return None
        if frame.event not in UNNUMBERED and not self._is_new(frame.id):
            return None
        event = decode(frame, self._exec_id)
        self._gap = self._gap or isinstance(event, Gap)
        self.is_over = isinstance(event, Completed) and self._exec_id != ""
        return event

    def _is_new(self, event_id: str) -> bool:
        """Whether it was not given yet. Raises if one is missing before it."""
        _, digits, tag = event_id.split("-")
        number, of_one_exec = int(digits), self._exec_id != ""
        last = self._last.get(tag, 0 if of_one_exec else None)
        if last is not None and number <= last:
            return False
        if of_one_exec and not self._gap and number != (last or 0) + 1:
            raise TransportError(f"event {number} came after {last}")
        self._gap = False
        self._last[tag] = number
        return True
