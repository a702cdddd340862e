"""Everything that this package raises."""

from __future__ import annotations

from typing import Dict, Optional, Type

from .types import Problem


class RdevError(Exception):
    """Every error of this package."""


class TransportError(RdevError):
    """There was no answer: nothing listens, the connection broke, or it took too long."""


class IncompleteError(RdevError):
    """The events are not all that the command printed: some have expired."""


class ProblemError(RdevError):
    """The server says that it cannot be done, and why (RFC 9457)."""

    def __init__(self, problem: Problem, retry_after: Optional[float] = None) -> None:
        super().__init__(f"{problem['status']} {problem['code']}: {problem['detail']}")
        self.problem = problem
        #: From `Retry-After`: seconds until trying again can help.
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem["status"]

    @property
    def code(self) -> str:
        """What is wrong, for programs; stable."""
        return self.problem["code"]


class InvalidRequestError(ProblemError):
    """400, 413, 415 and the like: the request cannot be carried out as it is."""


class UnauthorizedError(ProblemError):
    """401: no key, or one that is not good any more."""


class ForbiddenError(ProblemError):
    """403: the key does not allow it."""


class NotFoundError(ProblemError):
    """404: it is not there, or in a project that the key does not allow."""


class ConflictError(ProblemError):
    """409: it contradicts what exists, such as an exec with this id and another command."""


class ExpiredError(ProblemError):
    """410: retention has removed it. `problem["resume_from"]` goes on with what is left."""


class TooManyError(ProblemError):
    """429: too much at once. It was tried again until patience ended."""


class UnavailableError(ProblemError):
    """5xx: it cannot be done now. It was tried again, if it could be, until patience ended."""


_KINDS: Dict[int, Type[ProblemError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: ExpiredError,
    429: TooManyError,
}


def problem_error(problem: Problem, retry_after: Optional[float] = None) -> ProblemError:
    """The error of this status."""
    otherwise = UnavailableError if problem["status"] >= 500 else InvalidRequestError
    return _KINDS.get(problem["status"], otherwise)(problem, retry_after)
