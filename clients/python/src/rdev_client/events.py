"""What `follow` gives."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, Dict, List, Literal, Optional, TypedDict, Union

from ._sse import Frame
from .types import (
    ApprovalAnsweredData,
    ApprovalData,
    Complete,
    GapData,
    OutputStream,
    QueuePlace,
    ResizedData,
    SessionData,
)


class TextBlock(TypedDict):
    """What claude says."""

    type: Literal["text"]
    text: str


class ThinkingBlock(TypedDict):
    """What it thinks."""

    type: Literal["thinking"]
    thinking: str


class ToolUseBlock(TypedDict):
    """A tool that it uses."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: Dict[str, Any]


class _ToolResultBlock(TypedDict):
    type: Literal["tool_result"]
    tool_use_id: str


class ToolResultBlock(_ToolResultBlock, total=False):
    """What came of it."""

    content: Any
    is_error: bool


ClaudeBlock = Union[TextBlock, ThinkingBlock, ToolUseBlock, ToolResultBlock]


class _SystemMessage(TypedDict):
    type: Literal["system"]
    subtype: str


class SystemMessage(_SystemMessage, total=False):
    """How the run begins."""

    session_id: str
    model: str
    tools: List[str]
    cwd: str


class AssistantContent(TypedDict):
    """The message of an `AssistantMessage`."""

    content: List[ClaudeBlock]


class _AssistantMessage(TypedDict):
    type: Literal["assistant"]
    message: AssistantContent


class AssistantMessage(_AssistantMessage, total=False):
    """What claude says and does."""

    session_id: str
    parent_tool_use_id: Optional[str]


class UserContent(TypedDict):
    """The message of a `UserMessage`."""

    content: Union[str, List[ClaudeBlock]]


class _UserMessage(TypedDict):
    type: Literal["user"]
    message: UserContent


class UserMessage(_UserMessage, total=False):
    """What it is told, the results of tools above all."""

    session_id: str
    parent_tool_use_id: Optional[str]


class _ResultMessage(TypedDict):
    type: Literal["result"]
    subtype: str
    is_error: bool
    session_id: str


class ResultMessage(_ResultMessage, total=False):
    """How the run ends."""

    result: str
    num_turns: int
    duration_ms: int
    total_cost_usd: float
    usage: Dict[str, Any]


#: What the Claude CLI prints, as far as it is known here. There may be other types and members.
ClaudeMessage = Union[SystemMessage, AssistantMessage, UserMessage, ResultMessage]


@dataclass(frozen=True)
class Place:
    """What every event has."""

    #: Where to go on: give it as `after`.
    id: str
    #: Its number in its exec, from 1, without gaps; of what is in no log, that of the event before.
    number: int
    #: The exec; empty for what is of the session as a whole.
    exec: str


@dataclass(frozen=True)
class Output(Place):
    """What a command printed. Joined, the `data` of one stream is what it printed, byte for byte."""

    stream: OutputStream
    #: The bytes, with the newline if there was one.
    data: bytes
    #: The same as text, without the newline; what is not UTF-8 is replaced.
    text: str
    #: No newline follows: the line goes on, or the output ends.
    partial: bool


@dataclass(frozen=True)
class Claude(Place):
    """A line of JSON that claude printed."""

    message: ClaudeMessage
    #: The line, byte for byte.
    data: bytes
    stream: OutputStream = "stdout"


@dataclass(frozen=True)
class Codex(Place):
    """A line of JSON that codex printed."""

    message: Dict[str, Any]
    #: The line, byte for byte.
    data: bytes
    stream: OutputStream = "stdout"


@dataclass(frozen=True)
class Completed(Place):
    """How it ended: the last event of an exec."""

    complete: Complete


@dataclass(frozen=True)
class Approval(Place):
    """An agent asks whether it may use a tool."""

    approval: ApprovalData


@dataclass(frozen=True)
class ApprovalAnswered(Place):
    """It waits no more."""

    answer: ApprovalAnsweredData


@dataclass(frozen=True)
class Resized(Place):
    """The terminal has another size."""

    size: ResizedData


@dataclass(frozen=True)
class Gap(Place):
    """Events are missing because retention has removed them."""

    gap: GapData


@dataclass(frozen=True)
class Queued(Place):
    """It waits for its turn."""

    queue: QueuePlace


@dataclass(frozen=True)
class CaughtUp(Place):
    """The replay has reached the present."""


@dataclass(frozen=True)
class SessionChanged(Place):
    """What has become of the session."""

    session: SessionData


@dataclass(frozen=True)
class Other(Place):
    """An event of a later version of the server."""

    name: str
    value: Any


Event = Union[
    Output,
    Claude,
    Codex,
    Completed,
    Approval,
    ApprovalAnswered,
    Resized,
    Gap,
    Queued,
    CaughtUp,
    SessionChanged,
    Other,
]

#: Frames that the gateway makes, which are not in the log and have no number of their own.
UNNUMBERED = frozenset(
    ["connected", "caught_up", "heartbeat", "gap", "queued", "session", "reconnect"]
)
_BEGIN, _END, _PARTIAL_END = '"event":', "}", ',"partial":true}'


def _output(place: Dict[str, Any], value: Dict[str, Any]) -> Output:
    if "line_base64" in value:
        data = base64.b64decode(value["line_base64"])
        text = data.decode("utf-8", "replace")
    else:
        text = value.get("line") or ""
        data = text.encode()
    partial = value.get("partial") is True
    # The stderr of agents comes without saying so.
    stream: OutputStream = "stdout" if value.get("stream") == "stdout" else "stderr"
    return Output(
        stream=stream, data=data if partial else data + b"\n", text=text, partial=partial, **place
    )


def _agent_line(data: str) -> bytes:
    """The line itself stands in the data, between `"event":` and what may follow it."""
    begin = data.index(_BEGIN) + len(_BEGIN)
    if data.endswith(_PARTIAL_END):
        return data[begin : -len(_PARTIAL_END)].encode()
    return data[begin : -len(_END)].encode() + b"\n"


def decode(frame: Frame, exec_id: str) -> Event:
    """The event in a frame."""
    value = json.loads(frame.data)
    number = frame.id.split("-")[1] if "-" in frame.id else "0"
    place: Dict[str, Any] = {
        "id": frame.id,
        "number": int(number),
        "exec": value.get("stream_id") or exec_id,
    }
    name = frame.event
    if name in ("output", "error"):
        return _output(place, value)
    if name == "claude_event":
        return Claude(message=value["event"], data=_agent_line(frame.data), **place)
    if name == "codex_event":
        return Codex(message=value["event"], data=_agent_line(frame.data), **place)
    if name == "complete":
        return Completed(complete=value, **place)
    if name == "approval":
        return Approval(approval=value, **place)
    if name == "approval_answered":
        return ApprovalAnswered(answer=value, **place)
    if name == "resized":
        return Resized(size=value, **place)
    if name == "gap":
        return Gap(gap=value, **place)
    if name == "queued":
        return Queued(queue=value, **place)
    if name == "caught_up":
        return CaughtUp(**place)
    if name == "session":
        return SessionChanged(session=value, **place)
    return Other(name=name, value=value, **place)
