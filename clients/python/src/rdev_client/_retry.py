"""When to try again."""

from __future__ import annotations

import random
import time
from typing import Optional

from .errors import ProblemError, RdevError, TransportError

_MAX_DELAY_SECONDS = 10.0


def may_help(failure: RdevError, repeatable: bool) -> bool:
    """Whether the same request may be answered otherwise later, and may be sent again."""
    if isinstance(failure, TransportError):
        return repeatable
    if not isinstance(failure, ProblemError):
        return False
    # Of the gateway's own answers those that can help say when; a proxy says nothing.
    if failure.status == 429:
        return True
    if failure.status == 503 and failure.problem.get("outcome_unknown") is False:
        return True
    return repeatable and failure.status in (408, 502, 503, 504)


class Retry:
    """After what the server said, and otherwise after a delay that doubles, at random between half of
    it and all of it, so that many clients do not come back at once. After `patience` seconds without
    progress it gives up.
    """

    def __init__(self, patience: float, base: float = 0.2) -> None:
        self._patience = patience
        self._base = base
        self._failures = 0
        self._since: Optional[float] = None

    def progress(self) -> None:
        """It works: the next failure is the first one again."""
        self._failures = 0
        self._since = None

    def start_at(self, base: float) -> None:
        """The server has said how long to wait when the connection breaks."""
        self._base = base

    def delay_after(
        self, failure: RdevError, repeatable: bool = True, told: Optional[float] = None
    ) -> float:
        """How many seconds to wait; raises `failure` where there is no point in it."""
        if not may_help(failure, repeatable):
            raise failure
        if told is None and isinstance(failure, ProblemError):
            told = failure.retry_after
        now = time.monotonic()
        if self._since is None:
            self._since = now
        ceiling = min(self._base * float(2**self._failures), _MAX_DELAY_SECONDS)
        self._failures += 1
        delay = max(told or 0.0, ceiling * random.uniform(0.5, 1.0))
        if now + delay - self._since > self._patience:
            raise failure
        return delay
