"""Run commands and agents in pods through rdev, and follow them across anything that breaks.

    with Client("http://127.0.0.1:8080", "demo") as rdev:
        session = rdev.create_session(pod="workspace")
        for event in session.shell("echo hello").follow():
            print(event)
"""

from ._async_client import AsyncClient, AsyncExec, AsyncSession
from ._calls import Collected
from ._client import Client, Exec, Session
from .errors import (
    ConflictError,
    ExpiredError,
    ForbiddenError,
    IncompleteError,
    InvalidRequestError,
    NotFoundError,
    ProblemError,
    RdevError,
    TooManyError,
    TransportError,
    UnauthorizedError,
    UnavailableError,
)
from .events import (
    Approval,
    ApprovalAnswered,
    CaughtUp,
    Claude,
    ClaudeMessage,
    Codex,
    Completed,
    Event,
    Gap,
    Other,
    Output,
    Queued,
    Resized,
    SessionChanged,
)

__all__ = [
    "Approval",
    "ApprovalAnswered",
    "AsyncClient",
    "AsyncExec",
    "AsyncSession",
    "CaughtUp",
    "Claude",
    "ClaudeMessage",
    "Client",
    "Codex",
    "Collected",
    "Completed",
    "ConflictError",
    "Event",
    "Exec",
    "ExpiredError",
    "ForbiddenError",
    "Gap",
    "IncompleteError",
    "InvalidRequestError",
    "NotFoundError",
    "Other",
    "Output",
    "ProblemError",
    "Queued",
    "RdevError",
    "Resized",
    "Session",
    "SessionChanged",
    "TooManyError",
    "TransportError",
    "UnauthorizedError",
    "UnavailableError",
]
