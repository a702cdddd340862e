"""What is sent, for both clients: nothing here speaks to anybody."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any, Dict, Generic, Mapping, Optional, TypeVar, cast
from urllib.parse import quote

import httpx

from .errors import ConflictError, IncompleteError, TransportError, problem_error
from .types import (
    AnswerRequest,
    ApprovalViewPage,
    Complete,
    CreateSession,
    ExecAccepted,
    ExecOptions,
    ExecRequest,
    ExecView,
    OutputStream,
    Problem,
    SessionView,
    StdinAccepted,
    TicketMade,
)

#: What the answer's JSON is.
Answer = TypeVar("Answer")
#: How long one request waits for the end of an exec.
WAIT_SECONDS = 30
#: Longer than any answer takes, that to `?wait=` included.
ANSWER_TIMEOUT_SECONDS = 90.0
#: The most that one request may bring.
STDIN_PIECE_MAX_BYTES = 512 * 1024


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """A request."""

    method: str
    #: Below the project.
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    content: Optional[bytes] = None
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Sending it twice does the same as once, so it is sent again when nobody knows what became of it.
    repeatable: bool = True

    def request(self, client: httpx.Client | httpx.AsyncClient, project: str) -> httpx.Request:
        """As httpx sends it."""
        params = {name: value for name, value in self.params.items() if value is not None}
        path = f"/projects/{quote(project, safe='')}{self.path}"
        return client.build_request(
            self.method,
            path,
            params=params,
            json=self.json,
            content=self.content,
            headers=dict(self.headers),
        )


def refused(response: httpx.Response) -> Optional[Exception]:
    """What an answer that was read says, unless it is one of 2xx."""
    if response.is_success:
        return None
    try:
        retry_after: Optional[float] = float(response.headers.get("retry-after", ""))
    except ValueError:
        retry_after = None
    problem: Any = None
    try:
        problem = response.json()
    except ValueError:
        pass  # Not the gateway's: a proxy stands in between.
    if not isinstance(problem, dict) or "code" not in problem:
        status, title = response.status_code, response.reason_phrase
        detail = response.text[:200] or title
        problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        problem["code"] = f"http_{status}"
    return problem_error(cast(Problem, problem), retry_after)


def broken(error: httpx.HTTPError) -> TransportError:
    """What httpx says of a connection."""
    return TransportError(f"{type(error).__name__}: {error}")


def create_session(request: CreateSession) -> Call[SessionView]:
    return Call("POST", "/sessions", json=request, repeatable=False)


def of_session(session: str) -> str:
    return f"/sessions/{quote(session, safe='')}"


def of_exec(session: str, exec_id: str) -> str:
    return f"{of_session(session)}/execs/{quote(exec_id, safe='')}"


def session_view(session: str) -> Call[SessionView]:
    return Call("GET", of_session(session))


def end_session(session: str, cancel: bool) -> Call[SessionView]:
    return Call("DELETE", of_session(session), {"cancel": "true" if cancel else None})


def command(kind: str, options: ExecOptions, **what: Any) -> ExecRequest:
    """What to run, and how."""
    return cast(ExecRequest, {**options, "type": kind, **what})


def run(session: str, request: ExecRequest) -> Call[ExecAccepted]:
    """Has an id before it is sent, so it runs once however often it is."""
    stream_id = request.get("stream_id") or f"exec-{uuid.uuid4()}"
    return Call("POST", f"{of_session(session)}/exec", json={**request, "stream_id": stream_id})


def exec_view(session: str, exec_id: str, wait: Optional[int] = None) -> Call[ExecView]:
    return Call("GET", of_exec(session, exec_id), {"wait": wait})


def events(session: str, exec_id: str) -> Call[None]:
    headers = {"accept": "text/event-stream"}
    params = {"stream_id": exec_id or None}
    return Call("GET", f"{of_session(session)}/events", params, headers=headers)


def output(session: str, exec_id: str, stream: OutputStream, begin: int) -> Call[None]:
    headers = {"range": f"bytes={begin}-"} if begin > 0 else {}
    return Call("GET", f"{of_exec(session, exec_id)}/output", {"stream": stream}, headers=headers)


def order(session: str, exec_id: str, what: str, json: Any, repeatable: bool) -> Call[ExecView]:
    path = f"{of_exec(session, exec_id)}/{what}"
    return Call("POST", path, json=json, repeatable=repeatable)


def stdin(
    session: str, exec_id: str, offset: int, piece: bytes, end: bool = False
) -> Call[StdinAccepted]:
    params = {"offset": offset, "end": "true" if end else None}
    return Call("POST", f"{of_exec(session, exec_id)}/stdin", params, content=piece)


def next_offset(conflict: ConflictError) -> int:
    """Where input goes on, if it was refused for not going on there."""
    offset = conflict.problem.get("next_offset")
    if conflict.code != "stdin_gap" or offset is None:
        raise conflict
    return offset


def approvals(path: str, status: Optional[str]) -> Call[ApprovalViewPage]:
    return Call("GET", f"{path}/approvals", {"status": status})


def answer(session: str, exec_id: str, approval: str, json: AnswerRequest) -> Call[Any]:
    path = f"{of_exec(session, exec_id)}/approvals/{quote(approval, safe='')}"
    return Call("POST", path, json=json)


def ticket(session: str, exec_id: Optional[str]) -> Call[TicketMade]:
    json = {} if exec_id is None else {"stream_id": exec_id}
    return Call("POST", f"{of_session(session)}/tickets", json=json)


@dataclass(frozen=True)
class Collected:
    """Everything that a command printed, and how it ended."""

    complete: Complete
    stdout: bytes
    stderr: bytes

    def checked(self) -> Collected:
        """Itself, if it is as long as what was printed."""
        told = self.complete.get("stdout_bytes"), self.complete.get("stderr_bytes")
        for length, wanted in zip((len(self.stdout), len(self.stderr)), told):
            if wanted is not None and length != wanted:
                raise IncompleteError("what came is not as long as what was printed")
        return self
