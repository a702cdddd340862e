"""The client for asyncio. The one that blocks, `_client.py`, is made of it by `clients/generate.py`."""

from __future__ import annotations

import asyncio
from typing import (
    TYPE_CHECKING,
    Any,
    AsyncIterator,
    Dict,
    List,
    Literal,
    Optional,
    Type,
    cast,
)

import httpx

from . import _calls as calls
from ._calls import Answer, Call, Collected
from ._following import Following, Where
from ._retry import Retry
from .errors import ConflictError, IncompleteError, RdevError
from .events import Claude, Codex, Completed, Event, Gap, Output
from .types import (
    AnswerRequest,
    ApprovalView,
    Complete,
    ConversationView,
    CreateSession,
    ExecOptions,
    ExecRequest,
    ExecView,
    FactView,
    MessageView,
    Outcome,
    OutputStream,
    ProjectUsage,
    SessionView,
    TicketMade,
)

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Unpack


ExecStatus = Literal["queued", "running", "complete"]
ApprovalStatus = Literal["pending", "allowed", "denied", "withdrawn", "unanswered"]


class _Http:
    def __init__(self, client: httpx.AsyncClient, project: str, patience: float, silence: float) -> None:
        self.client, self.project = client, project
        self.patience, self.silence = patience, silence

    async def send(self, call: Call[Any]) -> httpx.Response:
        retry = Retry(self.patience)
        while True:
            try:
                return await self._once(call)
            except RdevError as failure:
                await asyncio.sleep(retry.delay_after(failure, call.repeatable))

    async def _once(self, call: Call[Any]) -> httpx.Response:
        try:
            response = await self.client.send(call.request(self.client, self.project))
        except httpx.HTTPError as error:
            raise calls.broken(error) from error
        refused = calls.refused(response)
        if refused is not None:
            raise refused
        return response

    async def json(self, call: Call[Answer]) -> Answer:
        return cast(Answer, (await self.send(call)).json())

    async def items(self, path: str, params: Dict[str, Any]) -> AsyncIterator[Any]:
        cursor: Optional[str] = None
        while True:
            call: Call[Any] = Call("GET", path, {**params, "cursor": cursor})
            page = await self.json(call)
            for item in page["items"]:
                yield item
            cursor = page["next_cursor"]
            if cursor is None:
                return

    async def follow(self, session: str, exec_id: str, where: Where) -> AsyncIterator[Event]:
        following = Following(calls.events(session, exec_id), exec_id, where, self.patience)
        while not following.is_over:
            failure: Optional[RdevError] = None
            try:
                async for event in self._connection(following):
                    yield event
            except httpx.HTTPError as error:
                failure = calls.broken(error)
            except RdevError as error:
                failure = error
            if not following.is_over:
                await asyncio.sleep(following.delay_after(failure))

    async def _connection(self, following: Following) -> AsyncIterator[Event]:
        request = following.call().request(self.client, self.project)
        request.extensions["timeout"] = httpx.Timeout(self.silence).as_dict()
        response = await self.client.send(request, stream=True)
        try:
            if response.status_code == httpx.codes.NO_CONTENT:
                following.is_over = True
                return
            if not response.is_success:
                await response.aread()
                raise calls.refused(response) or RdevError("refused")
            async for chunk in response.aiter_bytes():
                for event in following.receive(chunk):
                    yield event
                if following.is_over or following.is_sent_away:
                    return
        finally:
            await response.aclose()


class AsyncClient:
    """One project of an rdev.

    `patience`: seconds to go on trying without any progress. `silence`: seconds after which an event
    stream that says nothing is taken for broken; three heartbeats by default. `http`: an httpx client of
    your own, for proxies, certificates or a transport; it must have the base URL, and is not closed.
    """

    def __init__(
        self,
        url: str,
        project: str,
        *,
        key: Optional[str] = None,
        patience: float = 120.0,
        silence: float = 45.0,
        http: Optional[httpx.AsyncClient] = None,
    ) -> None:
        self._owned = http is None
        self._http = _Http(
            http
            or httpx.AsyncClient(
                base_url=url,
                headers={"authorization": f"Bearer {key}"} if key else {},
                timeout=calls.ANSWER_TIMEOUT_SECONDS,
            ),
            project,
            patience,
            silence,
        )

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        where: Optional[TracebackType],
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes its connections."""
        if self._owned:
            await self._http.client.aclose()

    async def create_session(self, **request: Unpack[CreateSession]) -> AsyncSession:
        """A new session. Not sent again when nobody knows what became of it, because that would make
        two: a `TransportError` may mean that there is one.
        """
        view = await self._http.json(calls.create_session(request))
        return self.session(view["id"])

    def session(self, session_id: str) -> AsyncSession:
        """A session that is there. Nothing is sent."""
        return AsyncSession(self._http, session_id)

    def sessions(
        self,
        *,
        status: Optional[Literal["active", "ended"]] = None,
        since: Optional[str] = None,
        until: Optional[str] = None,
    ) -> AsyncIterator[SessionView]:
        """Newest first, as many as are read; times as in `2026-11-22T06:21:00Z`."""
        return self._http.items("/sessions", {"status": status, "since": since, "until": until})

    def execs(
        self,
        *,
        session: Optional[str] = None,
        status: Optional[ExecStatus] = None,
        outcome: Optional[Outcome] = None,
        since: Optional[str] = None,
        until: Optional[str] = None,
    ) -> AsyncIterator[ExecView]:
        """Execs of all sessions, newest first."""
        params = {"session": session, "status": status, "outcome": outcome}
        return self._http.items("/execs", {**params, "since": since, "until": until})

    def conversations(
        self,
        *,
        session: Optional[str] = None,
        since: Optional[str] = None,
        until: Optional[str] = None,
    ) -> AsyncIterator[ConversationView]:
        """Newest first."""
        params = {"session": session, "since": since, "until": until}
        return self._http.items("/conversations", params)

    async def conversation(self, conversation_id: str) -> ConversationView:
        """One conversation with its cost."""
        call: Call[ConversationView] = Call("GET", f"/conversations/{conversation_id}")
        return await self._http.json(call)

    def messages(self, conversation_id: str) -> AsyncIterator[MessageView]:
        """The messages of a conversation, oldest first."""
        return self._http.items(f"/conversations/{conversation_id}/messages", {})

    async def usage(
        self, *, since: Optional[str] = None, until: Optional[str] = None
    ) -> ProjectUsage:
        """What agents cost."""
        call: Call[ProjectUsage] = Call("GET", "/usage", {"since": since, "until": until})
        return await self._http.json(call)


class AsyncSession:
    """A pod, and the conversation held in it."""

    def __init__(self, http: _Http, session_id: str) -> None:
        self._http = http
        #: Its id.
        self.id = session_id

    async def view(self) -> SessionView:
        """As it stands."""
        return await self._http.json(calls.session_view(self.id))

    async def end(self, *, cancel: bool = False) -> SessionView:
        """Ends it: no new exec from here on; with `cancel`, its execs too."""
        return await self._http.json(calls.end_session(self.id, cancel))

    async def exec(self, request: ExecRequest) -> AsyncExec:
        """Runs a command. It has an id before it is sent, so it is sent again until there is an answer
        and still runs once. Give your own `stream_id` to have that across restarts of your program too.
        """
        accepted = await self._http.json(calls.run(self.id, request))
        return self.attach(accepted["id"])

    async def shell(self, command: str, **options: Unpack[ExecOptions]) -> AsyncExec:
        """Runs a line of shell."""
        return await self.exec(calls.command("shell", options, command=command))

    async def git(
        self, command: str, *arguments: str, **options: Unpack[ExecOptions]
    ) -> AsyncExec:
        """Runs git, never through a shell."""
        return await self.exec(
            calls.command("git", options, command=command, args=list(arguments))
        )

    async def claude(self, prompt: str, **options: Unpack[ExecOptions]) -> AsyncExec:
        """Has claude do something."""
        return await self.exec(calls.command("claude", options, prompt=prompt))

    async def codex(self, prompt: str, **options: Unpack[ExecOptions]) -> AsyncExec:
        """Has codex do something."""
        return await self.exec(calls.command("codex", options, prompt=prompt))

    def attach(self, exec_id: str) -> AsyncExec:
        """An exec that is there, or will be. Nothing is sent."""
        return AsyncExec(self._http, self.id, exec_id)

    def execs(
        self, *, status: Optional[ExecStatus] = None, outcome: Optional[Outcome] = None
    ) -> AsyncIterator[ExecView]:
        """Its execs, newest first."""
        params = {"status": status, "outcome": outcome}
        return self._http.items(f"{calls.of_session(self.id)}/execs", params)

    def follow(
        self, *, after: Optional[str] = None, tail: Optional[int] = None, strict: bool = False
    ) -> AsyncIterator[Event]:
        """The events of all its execs on one connection: of all that there are, or with `tail=0` from
        now on.
        """
        return self._http.follow(self.id, "", Where(after, tail, strict))

    async def approvals(self, *, status: Optional[ApprovalStatus] = None) -> List[ApprovalView]:
        """What its agents have asked."""
        return (await self._http.json(calls.approvals(calls.of_session(self.id), status)))["items"]

    async def ticket(self, exec_id: Optional[str] = None) -> TicketMade:
        """An address for a browser's `EventSource`: of one exec, or of the whole session."""
        return await self._http.json(calls.ticket(self.id, exec_id))


class AsyncExec:
    """One command."""

    def __init__(self, http: _Http, session_id: str, exec_id: str) -> None:
        self._http = http
        self.session_id = session_id
        #: Its id, which is that of its stream.
        self.id = exec_id
        self._offset: Optional[int] = None

    async def view(self) -> ExecView:
        """As it stands."""
        return await self._http.json(calls.exec_view(self.session_id, self.id))

    def follow(
        self, *, after: Optional[str] = None, tail: Optional[int] = None, strict: bool = False
    ) -> AsyncIterator[Event]:
        """Its events, each once and in order, whatever breaks meanwhile; ends after `Completed`. Keep the
        `id` of the last one that you have dealt with, and give it as `after` to go on in another process.
        With `strict`, what has expired is an `ExpiredError` in the place of a `Gap`. With `tail`, and
        no `after`, it begins with the last so many events.
        """
        return self._http.follow(self.session_id, self.id, Where(after, tail, strict))

    def timeline(self) -> AsyncIterator[FactView]:
        """What became of it: asked for, admitted, started, taken over, complete."""
        return self._http.items(f"{calls.of_exec(self.session_id, self.id)}/timeline", {})

    async def result(self) -> Complete:
        """How it ended, once it has."""
        while True:
            call = calls.exec_view(self.session_id, self.id, calls.WAIT_SECONDS)
            complete = (await self._http.json(call))["complete"]
            if complete is not None:
                return complete

    async def collect(self) -> Collected:
        """Follows it to the end and joins what it printed, in memory."""
        pieces: Dict[str, List[bytes]] = {"stdout": [], "stderr": []}
        async for event in self.follow():
            if isinstance(event, Gap):
                raise IncompleteError("events have expired")
            if isinstance(event, (Output, Claude, Codex)):
                pieces[event.stream].append(event.data)
            if isinstance(event, Completed):
                stdout, stderr = b"".join(pieces["stdout"]), b"".join(pieces["stderr"])
                return Collected(event.complete, stdout, stderr).checked()
        raise IncompleteError("the events ended without Completed")

    async def output(self, stream: OutputStream = "stdout", begin: int = 0) -> bytes:
        """The exact bytes that it has printed so far, from `begin` on."""
        call = calls.output(self.session_id, self.id, stream, begin)
        return (await self._http.send(call)).content

    async def cancel(self) -> None:
        """Ends it and everything that it has started. Sent twice it is canceled once."""
        await self._http.send(calls.order(self.session_id, self.id, "cancel", {}, True))

    async def signal(self, name: str) -> None:
        """Sends a signal, such as `INT`. Not sent again when nobody knows what became of it."""
        await self._http.send(calls.order(self.session_id, self.id, "signal", {"signal": name}, False))

    async def resize(self, cols: int, rows: int) -> None:
        """Another size for its terminal."""
        size = {"cols": cols, "rows": rows}
        await self._http.send(calls.order(self.session_id, self.id, "resize", size, True))

    async def write(self, data: bytes) -> None:
        """Gives it standard input (with `stdin_open`): all of it once, however often it has to be sent.
        Waits where the command does not read. One writer at a time.
        """
        for begin in range(0, len(data), calls.STDIN_PIECE_MAX_BYTES):
            await self._piece(data[begin : begin + calls.STDIN_PIECE_MAX_BYTES], False)

    async def close_input(self) -> None:
        """Ends its standard input."""
        await self._piece(b"", True)

    async def _piece(self, piece: bytes, end: bool) -> None:
        if self._offset is None:
            self._offset = await self._input_offset()
        call = calls.stdin(self.session_id, self.id, self._offset, piece, end)
        self._offset = (await self._http.json(call))["next_offset"]

    async def _input_offset(self) -> int:
        """An empty piece asks where the next one begins."""
        try:
            accepted = await self._http.json(calls.stdin(self.session_id, self.id, 0, b""))
            return accepted["next_offset"]
        except ConflictError as conflict:
            return calls.next_offset(conflict)

    async def approvals(self, *, status: Optional[ApprovalStatus] = None) -> List[ApprovalView]:
        """What its agent has asked."""
        path = calls.of_exec(self.session_id, self.id)
        return (await self._http.json(calls.approvals(path, status)))["items"]

    async def answer(self, approval_id: str, **answer: Unpack[AnswerRequest]) -> ApprovalView:
        """Lets its agent use a tool (`decision="allow"`), or not. The same answer twice is one."""
        call = calls.answer(self.session_id, self.id, approval_id, answer)
        return cast(ApprovalView, await self._http.json(call))

    async def ticket(self) -> TicketMade:
        """An address for a browser's `EventSource`."""
        return await self._http.json(calls.ticket(self.session_id, self.id))
