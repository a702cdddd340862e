"""Made by clients/generate.py from the published schemas: do not edit."""

from typing import Any, Dict, List, Literal, Optional, TypedDict

# Who decided.
AnsweredBy = Literal["client", "timeout", "agent"]

# The data of the server-sent event `caught_up`.
CaughtUpData = Dict[str, Any]

# What was decided about the use of a tool.
Decision = Literal["allow", "deny", "withdrawn"]

# Why a session has ended.
EndReason = Literal["deleted", "idle", "expired", "failed"]

# A key id.
KeyId = str

# How an exec ended.
Outcome = Literal["exited", "signaled", "timed_out", "canceled", "lost", "rejected"]

# Which pipe of the command.
OutputStream = Literal["stdout", "stderr"]

# A pod name.
PodName = str

# How far the pod of a session is.
PodState = Literal["pending", "ready", "failed", "deleted"]

# What may be done. None includes another.
Scope = Literal["read", "exec", "admin"]

# What a command waits for.
WaitReason = Literal["session_limit", "project_limit", "agent_session", "session_not_ready", "slots", "no_executor"]


class _Answer(TypedDict):
    # Whether it may.
    decision: "Decision"


class Answer(_Answer, total=False):
    """What an agent is answered."""

    # It may not, and is to stop working.
    interrupt: bool
    # Why not, for the agent.
    message: str
    # It may, but with this input.
    updated_input: Optional[Dict[str, Any]]
    # It may, and these rules hold from now on.
    updated_permissions: Optional[List[Any]]


class _AnswerRequest(TypedDict):
    # `allow` or `deny`.
    decision: str


class AnswerRequest(_AnswerRequest, total=False):
    """`POST …/execs/{stream}/approvals/{approval}`."""

    # It may not, and is to stop working.
    interrupt: Optional[bool]
    # Why not, for the agent.
    message: Optional[str]
    # It may, but with this input.
    updated_input: Optional[Dict[str, Any]]
    # It may, and these rules hold from now on.
    updated_permissions: Optional[List[Any]]


class _ApprovalAnsweredData(TypedDict):
    # When it was given.
    answered_at: str
    # Which question.
    approval_id: str
    # Whose answer it is.
    by: "AnsweredBy"
    # Whether it may.
    decision: "Decision"


class ApprovalAnsweredData(_ApprovalAnsweredData, total=False):
    """The data of the server-sent event `approval_answered`."""

    # It may not, and is to stop working.
    interrupt: bool
    # Id of the API key of the client; empty where none is configured.
    key: str
    # Why not, for the agent.
    message: str
    # Sequence of the order that it came with; absent if the agent withdrew the question.
    order: Optional[int]
    # Up to which byte of its standard input the agent has been answered with this one.
    stdin_to: Optional[int]
    # It may, but with this input.
    updated_input: Optional[Dict[str, Any]]
    # It may, and these rules hold from now on.
    updated_permissions: Optional[List[Any]]


class _ApprovalData(TypedDict):
    # The agent's own name for the question; unique within the exec.
    approval_id: str
    # When it was asked.
    asked_at: str
    # How long the input is.
    input_bytes: int
    # The tool that it wants to use.
    tool_name: str


class ApprovalData(_ApprovalData, total=False):
    """The data of the server-sent event `approval`."""

    # When it is answered by nobody; absent if that is only when the exec ends.
    expires_at: Optional[str]
    # With what, as the agent printed it; absent if it is long: then it is in the agent's own event
    # alone.
    input: Optional[Dict[str, Any]]
    # Rules that would make the question needless from now on, as the agent printed them: one or
    # more of them may be given back as `updated_permissions`.
    suggestions: Optional[List[Any]]
    # What the use is called in the agent's messages; empty if it is not told.
    tool_use_id: str


class _ApprovalView(TypedDict):
    # The agent's own name for the question; unique within the exec.
    approval_id: str
    # When it was asked.
    asked_at: str
    # How long the input is.
    input_bytes: int
    # The session.
    session_id: str
    # `pending`, `allowed`, `denied`, `withdrawn`, or `unanswered` if the exec has ended without.
    status: str
    # The exec.
    stream_id: str
    # The tool that it wants to use.
    tool_name: str


class ApprovalView(_ApprovalView, total=False):
    """A question of an agent: whether it may use a tool."""

    # The answer.
    answer: Optional["Answer"]
    # When it was answered.
    answered_at: Optional[str]
    # Whose answer it is: `client`, `timeout` or `agent`.
    answered_by: Optional["AnsweredBy"]
    # Id of the client's API key; empty where none is configured.
    answered_key: str
    # When it is answered by nobody; absent if that is only when the exec ends.
    expires_at: Optional[str]
    # With what, as the agent printed it; absent if it is long: then it is in the agent's own event
    # alone.
    input: Optional[Dict[str, Any]]
    # Rules that would make the question needless from now on, as the agent printed them: one or
    # more of them may be given back as `updated_permissions`.
    suggestions: Optional[List[Any]]
    # What the use is called in the agent's messages; empty if it is not told.
    tool_use_id: str


class ApprovalViewPage(TypedDict):
    """A page of a list."""

    # The items, in the list's order.
    items: List["ApprovalView"]
    # Give this as `cursor` for the next page; null on the last one.
    next_cursor: Optional[str]


class _ClaudeEventData(TypedDict):
    # The object, as the agent printed it.
    event: Dict[str, Any]


class ClaudeEventData(_ClaudeEventData, total=False):
    """The data of the server-sent event `claude_event`."""

    # No newline follows: the output ended without it.
    partial: bool


class _CodexEventData(TypedDict):
    # The object, as the agent printed it.
    event: Dict[str, Any]


class CodexEventData(_CodexEventData, total=False):
    """The data of the server-sent event `codex_event`."""

    # No newline follows: the output ended without it.
    partial: bool


class _Complete(TypedDict):
    # The claude session that the run yielded; empty if none.
    claude_session_id: str
    # The conversation it belongs to; empty if it yielded no session of an agent.
    conversation_id: str
    # From launch to end as the supervisor measured it; 0 if it never ran.
    duration_ms: int
    # The process's own; 128 + n when ended by signal n; −1 when there is none to tell.
    exit_code: int
    # Exit code 0, and of an agent a successful last result.
    ok: bool
    # How it ended.
    outcome: "Outcome"
    # Why, in words, where the outcome alone does not say it.
    reason: str
    # Number of the signal that ended the process.
    signal: Optional[int]
    # Bytes of standard error.
    stderr_bytes: Optional[int]
    # SHA-256 of standard error, lower-case hex.
    stderr_sha256: Optional[str]
    # Bytes of standard output, from the supervisor's end frame; null when there was none.
    stdout_bytes: Optional[int]
    # SHA-256 of standard output, lower-case hex.
    stdout_sha256: Optional[str]


class Complete(_Complete, total=False):
    """The `data` of a `complete` event, in the log and over SSE."""

    # The codex session that the run yielded; empty if none.
    codex_session_id: str


class ConnectedData(TypedDict):
    """The data of the server-sent event `connected`."""

    # The request carried a cursor.
    reconnecting: bool
    # The session.
    session_id: str
    # The exec; empty for the feed of a whole session.
    stream_id: str


class _ConversationView(TypedDict):
    # The claude session it continues with; empty if none.
    claude_session_id: str
    # When its first message was written.
    created_at: str
    # Its id.
    id: str
    # The tenant.
    project_id: str
    # The session it is held in.
    session_id: str
    # `Session {first 8 of the session id}`.
    title: str
    # When its last message was written.
    updated_at: str


class ConversationView(_ConversationView, total=False):
    """A conversation."""

    # The codex session it continues with, if any.
    codex_session_id: Optional[str]
    # What it cost so far; of one conversation, not in lists.
    usage: Optional["UsageTotals"]


class ConversationViewPage(TypedDict):
    """A page of a list."""

    # The items, in the list's order.
    items: List["ConversationView"]
    # Give this as `cursor` for the next page; null on the last one.
    next_cursor: Optional[str]


class _CreateKey(TypedDict):
    # What people call it.
    name: str
    # In which projects: names, or `["*"]`.
    projects: List[str]
    # What may be done with it.
    scopes: List["Scope"]


class CreateKey(_CreateKey, total=False):
    """`POST /keys`."""

    # After so many seconds it may not be used any more; never if absent.
    expires_in_seconds: Optional[int]


class CreateSession(TypedDict, total=False):
    """`POST /projects/{id}/sessions`: exactly one of `pod`, `selector` and `template`."""

    # The container; the pod's default one if absent.
    container: Optional[str]
    # Ends the session after so long.
    expires_in_seconds: Optional[int]
    # Ends the session when nothing has happened in it for so long.
    idle_timeout_seconds: Optional[int]
    # The pod's namespace; the executor's default if absent. Of a template, the template says it.
    namespace: Optional[str]
    # The pod to attach to.
    pod: Optional[str]
    # Labels of the pod to attach to: one that is ready is chosen.
    selector: Optional[Dict[str, str]]
    # The template of the pod to make.
    template: Optional[str]


class CreateTicket(TypedDict, total=False):
    """`POST …/sessions/{sid}/tickets`."""

    # The exec whose events are to be read; those of all execs of the session if absent.
    stream_id: Optional[str]


class CursorView(TypedDict):
    """Where the cursor of a terminal is."""

    # Columns to the left of it.
    col: int
    # Rows above it.
    row: int
    # It is shown.
    visible: bool


class ErrorData(TypedDict, total=False):
    """The data of the server-sent event `error`."""

    # The piece, if it is UTF-8.
    line: Optional[str]
    # The piece in base64, if it is not.
    line_base64: Optional[str]
    # No `\n` follows: the line goes on in the next event of this stream, or the stream ends.
    partial: bool
    # Which pipe; absent in `error`, which is always stderr.
    stream: Optional["OutputStream"]


class EventView(TypedDict):
    """An event of a page, and of a line of `application/x-ndjson`."""

    # Its data; `/schemas` has one for each name.
    data: Any
    # Its name.
    event: str
    # Its id.
    id: str


class EventsPage(TypedDict):
    """`GET …/events` with `Accept: application/json`. The gateway writes it as it reads the log."""

    # There is nothing behind it yet.
    caught_up: bool
    # Nothing will come any more.
    complete: bool
    # What there is behind the cursor.
    events: List["EventView"]
    # Give this as `Last-Event-ID` to go on.
    next: str


class ExecAccepted(TypedDict):
    """201 (or 200 for a repeat) of `POST …/exec`."""

    # The exec's stream id.
    id: str
    # The session.
    session_id: str
    # Always `running`.
    status: str
    # Where its events are.
    stream_url: str
    # The type asked for.
    type: str


class ExecOptions(TypedDict, total=False):
    """What a command may be given beside what it is."""

    # `deny` (the default) or `cancel`: what happens when that is over.
    approval_on_timeout: Optional[str]
    # Limit of its wait for an answer.
    approval_timeout_seconds: Optional[int]
    # Further arguments.
    args: Optional[List[str]]
    # Resume the session's session of the agent.
    continue_conversation: Optional[bool]
    # Resume this session of the agent.
    conversation_id: Optional[str]
    # Working directory.
    cwd: Optional[str]
    # Added to the environment; logged.
    env: Optional[Dict[str, str]]
    # Limit of its silence.
    idle_timeout_seconds: Optional[int]
    # One pipe for both outputs.
    merge: Optional[bool]
    # `ask`: the agent asks before it uses tools. For `claude`.
    permissions: Optional[str]
    # Limit of its wait for a start.
    queue_timeout_seconds: Optional[int]
    # Added to the environment from Secrets; only the references are logged.
    secret_env: Optional[Dict[str, "SecretRequest"]]
    # Initial standard input.
    stdin: Optional[str]
    # More standard input will come.
    stdin_open: Optional[bool]
    # The exec's id, if the client wants to name it.
    stream_id: Optional[str]
    # Limit of its run.
    timeout_seconds: Optional[int]
    # A terminal.
    tty: Optional["TerminalRequest"]


class ExecRequest(TypedDict, total=False):
    """`POST …/exec`: loose, as it comes; the gateway makes a [`event::CommandSpec`] of it. Unknown fields are ignored here, as the original API did."""

    # `deny` (the default) or `cancel`: what happens when that is over.
    approval_on_timeout: Optional[str]
    # Limit of its wait for an answer.
    approval_timeout_seconds: Optional[int]
    # Further arguments.
    args: Optional[List[str]]
    # For `shell` and `git`.
    command: Optional[str]
    # Resume the session's session of the agent.
    continue_conversation: Optional[bool]
    # Resume this session of the agent.
    conversation_id: Optional[str]
    # Working directory.
    cwd: Optional[str]
    # Added to the environment; logged.
    env: Optional[Dict[str, str]]
    # Limit of its silence.
    idle_timeout_seconds: Optional[int]
    # One pipe for both outputs.
    merge: Optional[bool]
    # `ask`: the agent asks before it uses tools. For `claude`.
    permissions: Optional[str]
    # For `claude` and `codex`.
    prompt: Optional[str]
    # Limit of its wait for a start.
    queue_timeout_seconds: Optional[int]
    # Added to the environment from Secrets; only the references are logged.
    secret_env: Optional[Dict[str, "SecretRequest"]]
    # Initial standard input.
    stdin: Optional[str]
    # More standard input will come.
    stdin_open: Optional[bool]
    # The exec's id, if the client wants to name it.
    stream_id: Optional[str]
    # Limit of its run.
    timeout_seconds: Optional[int]
    # A terminal.
    tty: Optional["TerminalRequest"]
    # `shell`, `git`, `claude` or `codex`.
    type: str


class _ExecView(TypedDict):
    # Claims so far.
    attempts: int
    # The `complete` event's data, once there is one.
    complete: Optional["Complete"]
    # When it ended.
    completed_at: Optional[str]
    # When it was asked for.
    created_at: str
    # Its stream id.
    id: str
    # The session.
    session_id: str
    # When it was first claimed.
    started_at: Optional[str]
    # `queued`, `running` or `complete`.
    status: str
    # `shell`, `git`, `claude` or `codex`.
    type: str


class ExecView(_ExecView, total=False):
    """An exec in the read model."""

    # Where it stands, while it waits for its turn.
    queue: Optional["QueuePlace"]
    # The first 200 characters of its command, of `git` with its arguments, or of its prompt.
    summary: str
    # What it cost, for agents, once the CLI and the read model have told it.
    usage: Optional["RunUsage"]


class ExecViewPage(TypedDict):
    """A page of a list."""

    # The items, in the list's order.
    items: List["ExecView"]
    # Give this as `cursor` for the next page; null on the last one.
    next_cursor: Optional[str]


class FactView(TypedDict):
    """Something that became of an exec: an item of `GET …/execs/{stream}/timeline`."""

    # When it was written into the log.
    at: str
    # The claim that it is of; 0 before the first.
    attempt: int
    # What the log has of it; of `command` without `stdin` and the values of `env`, and of `cancel`
    # `by` and `reason`.
    data: Any
    # `command`, `admitted`, `started`, `resumed`, `cancel` or `complete`; others may be added.
    event: str


class FactViewPage(TypedDict):
    """A page of a list."""

    # The items, in the list's order.
    items: List["FactView"]
    # Give this as `cursor` for the next page; null on the last one.
    next_cursor: Optional[str]


class _GapData(TypedDict):
    # Why, in one word: `expired`, `unreadable`.
    reason: str


class GapData(_GapData, total=False):
    """The data of the server-sent event `gap`."""

    # The number of the first event that is left; null if none is.
    first_available: Optional[int]
    # The number of the event that should have come next; null in the feed of a whole session that
    # began in the middle of the exec.
    requested: Optional[int]
    # The exec, in the feed of a whole session.
    stream_id: Optional[str]


class HeartbeatData(TypedDict):
    """The data of the server-sent event `heartbeat`."""

    # The gateway's clock.
    timestamp: str


class KeyList(TypedDict):
    """`GET /keys`."""

    # The oldest first; those that were revoked or have expired are among them.
    items: List["KeyView"]


class KeyMade(TypedDict):
    """201 of `POST /keys` and 200 of `POST /keys/{key}/rotate`: the only answers that show a key."""

    # When it was made.
    created_at: str
    # From when on it may not be used.
    expires_at: Optional[str]
    # Its id.
    id: "KeyId"
    # `rdev_{id}_{secret}`: not shown again.
    key: str
    # When it was used last, to the minute.
    last_used_at: Optional[str]
    # What people call it.
    name: str
    # In which projects.
    projects: List[str]
    # When it was ended.
    revoked_at: Optional[str]
    # When it was given another secret.
    rotated_at: Optional[str]
    # What.
    scopes: List["Scope"]


class KeyView(TypedDict):
    """A key, without its secret."""

    # When it was made.
    created_at: str
    # From when on it may not be used.
    expires_at: Optional[str]
    # Its id.
    id: "KeyId"
    # When it was used last, to the minute.
    last_used_at: Optional[str]
    # What people call it.
    name: str
    # In which projects.
    projects: List[str]
    # When it was ended.
    revoked_at: Optional[str]
    # When it was given another secret.
    rotated_at: Optional[str]
    # What.
    scopes: List["Scope"]


class _MessageView(TypedDict):
    # The text; of `tool_use`, the input as JSON.
    content: str
    # When it was written.
    created_at: str
    # Its id.
    id: str
    # `user`, `tool_use`, `tool_result` or `assistant`.
    role: str
    # The exec it belongs to.
    stream_id: str


class MessageView(_MessageView, total=False):
    """A message of a conversation."""

    # Whether the tool failed, where a `tool_result` says it.
    is_error: Optional[bool]
    # The `tool_use` that runs the agent which this is of.
    parent_tool_use_id: Optional[str]
    # The tool that is used.
    tool_name: Optional[str]
    # What a `tool_use` and its `tool_result` have in common.
    tool_use_id: Optional[str]
    # Whether the content is only the beginning: the events have all of it.
    truncated: bool


class MessageViewPage(TypedDict):
    """A page of a list."""

    # The items, in the list's order.
    items: List["MessageView"]
    # Give this as `cursor` for the next page; null on the last one.
    next_cursor: Optional[str]


class OutputData(TypedDict, total=False):
    """The data of the server-sent event `output`."""

    # The piece, if it is UTF-8.
    line: Optional[str]
    # The piece in base64, if it is not.
    line_base64: Optional[str]
    # No `\n` follows: the line goes on in the next event of this stream, or the stream ends.
    partial: bool
    # Which pipe; absent in `error`, which is always stderr.
    stream: Optional["OutputStream"]


class _Problem(TypedDict):
    # What is wrong, for programs. Stable.
    code: str
    # What is wrong and what to do, for people.
    detail: str
    # The HTTP status.
    status: int
    # The status in words.
    title: str
    # `about:blank`: the code says what it is.
    type: str


class Problem(_Problem, total=False):
    """RFC 9457 problem details, with a stable `code`."""

    # On a 410: the number of the first event, or the first byte, that is left; absent if none is.
    first_available: Optional[int]
    # On a refused piece of standard input: where the next one has to begin.
    next_offset: Optional[int]
    # On a 503 of a write: whether it may have happened all the same.
    outcome_unknown: Optional[bool]
    # On a 410 of events: the event id with which a reader goes on at `first_available`.
    resume_from: Optional[str]
    # On a 503 of a POST exec: the stream id to try again with.
    stream_id: Optional[str]
    # The trace that the request was a part of: what to name when asking about it.
    trace_id: Optional[str]


class ProjectUsage(TypedDict):
    """`GET /projects/{id}/usage`."""

    # Tokens read from the cache.
    cache_read_tokens: int
    # Tokens put into the cache.
    cache_write_tokens: int
    # US dollars.
    cost_usd: float
    # Tokens read and in no cache.
    input_tokens: int
    # Tokens written.
    output_tokens: int
    # The tenant.
    project_id: str
    # Runs that have ended.
    runs: int
    # Of these, runs whose own cost is not known, as of all runs of codex: it is in no sum.
    runs_not_known: int
    # Of execs that were asked for from this time on.
    since: Optional[str]
    # Of execs that were asked for before this time.
    until: Optional[str]


class ProjectView(TypedDict):
    """A project that whoever asks may look into: an item of `GET /projects`."""

    # Its id.
    id: str
    # What they may do there.
    scopes: List["Scope"]


class ProjectViewPage(TypedDict):
    """A page of a list."""

    # The items, in the list's order.
    items: List["ProjectView"]
    # Give this as `cursor` for the next page; null on the last one.
    next_cursor: Optional[str]


class _QueuePlace(TypedDict):
    # How many commands of its session that wait were there before it.
    ahead_in_session: int
    # Its place among the commands of its project that wait, from 1. It never grows.
    position: int


class QueuePlace(_QueuePlace, total=False):
    """Where a command stands that waits. Shown as `queue` of an exec and as the data of `queued`."""

    # What it waits for; absent when it is about to be admitted.
    reason: Optional["WaitReason"]


class ReconnectData(TypedDict):
    """The data of the server-sent event `reconnect`."""

    # Why, in one word: `draining`, `overloaded`, `not_started`, `log_unavailable`, `lifetime`.
    reason: str


class ResizedData(TypedDict):
    """The data of the server-sent event `resized`."""

    # In a row.
    cols: int
    # Rows.
    rows: int


class RotateKey(TypedDict, total=False):
    """`POST /keys/{key}/rotate`."""

    # For so many seconds the former secret may still be used; an hour if absent.
    grace_seconds: Optional[int]


class _RunUsage(TypedDict):
    # Tokens read from the cache.
    cache_read_tokens: Optional[int]
    # Tokens put into the cache.
    cache_write_tokens: Optional[int]
    # The version of the CLI.
    cli_version: Optional[str]
    # US dollars, of this run alone.
    cost_usd: Optional[float]
    # Tokens read and in no cache, of this run alone, as the three below.
    input_tokens: Optional[int]
    # Tokens written.
    output_tokens: Optional[int]
    # As the CLI printed it.
    total_cost_usd: Optional[float]


class RunUsage(_RunUsage, total=False):
    """What one run of an agent cost. Null where it is not known for certain: codex prints no cost, and some versions of both CLIs print sums over all runs of their session."""

    # `modelUsage` as the CLI printed it; of one exec, not in lists.
    model_usage: Any
    # `usage` as the CLI printed it; of one exec, not in lists.
    usage: Any


class _ScreenView(TypedDict):
    # Characters in a row.
    cols: int
    # The cursor.
    cursor: "CursorView"
    # The rows as text, without the blanks at their ends.
    lines: List[str]
    # The id of the last event that it includes: give this as `Last-Event-ID` to go on behind it.
    next: str
    # Rows.
    rows: int


class ScreenView(_ScreenView, total=False):
    """`GET …/execs/{stream}/screen`: what the terminal of an exec shows."""

    # What makes a terminal of this size look and behave like this one, beginning with a reset.
    ansi: Optional[str]
    # The same in base64, if it ends within a character.
    ansi_base64: Optional[str]


class SecretRequest(TypedDict):
    """A value of a Secret, as it is asked for."""

    # Which of its values.
    key: str
    # The Secret.
    name: str


class _SessionData(TypedDict):
    # `active` or `ended`.
    status: str


class SessionData(_SessionData, total=False):
    """The data of the server-sent event `session`."""

    # When the session ends unless something happens in it.
    idle_ends_at: Optional[str]
    # The pod, once it is known.
    pod: Optional["PodName"]
    # What is waited for, or why there is no pod.
    pod_message: str
    # What has become of its pod, if it is made or chosen.
    pod_state: Optional["PodState"]
    # Why it has ended.
    reason: Optional["EndReason"]


class _SessionView(TypedDict):
    # The claude session it continues with, once there is one.
    claude_session_id: Optional[str]
    # The conversation held in it.
    conversation_id: str
    # When it was created.
    created_at: str
    # When it was ended.
    ended_at: Optional[str]
    # Its id.
    id: str
    # The pod; null until one was chosen.
    pod: Optional[str]
    # The tenant.
    project_id: str
    # `active` or `ended`.
    status: str


class SessionView(_SessionView, total=False):
    """A session."""

    # The codex session that codex continues it with, once there is one.
    codex_session_id: Optional[str]
    # The container, if one was given.
    container: Optional[str]
    # Why: `deleted`, `idle`, `expired` or `failed`.
    ended_reason: Optional[str]
    # When it ends, whatever happens.
    expires_at: Optional[str]
    # When it ends unless something happens: it has been warned.
    idle_ends_at: Optional[str]
    # It ends when nothing has happened in it for so long.
    idle_timeout_seconds: Optional[int]
    # Its namespace, if one was given.
    namespace: Optional[str]
    # What is waited for, or why there is none.
    pod_message: Optional[str]
    # What has become of it, if it is made or chosen.
    pod_state: Optional[str]
    # The labels that the pod is chosen by, if it is.
    selector: Dict[str, str]
    # The template that the pod is made from, if it is.
    template: Optional[str]


class SessionViewPage(TypedDict):
    """A page of a list."""

    # The items, in the list's order.
    items: List["SessionView"]
    # Give this as `cursor` for the next page; null on the last one.
    next_cursor: Optional[str]


class SignalRequest(TypedDict):
    """`POST …/execs/{stream}/signal`."""

    # One of [`control::SignalName`].
    signal: str


class StdinAccepted(TypedDict):
    """202 of `POST …/execs/{stream}/stdin`."""

    # Nothing comes after it.
    ended: bool
    # Everything before this byte is stored: what comes next begins here.
    next_offset: int


class TerminalRequest(TypedDict):
    """The size of a terminal, as it is asked for: of a new one, and `POST …/execs/{stream}/resize`."""

    # Characters in a row.
    cols: int
    # Rows.
    rows: int


class TicketMade(TypedDict):
    """201 of `POST …/sessions/{sid}/tickets`: for a browser's `EventSource`, which can send no key."""

    # A reader that was there already can come back before this.
    resume_until: str
    # The stream is to be begun before this.
    start_by: str
    # Given as `?ticket=`.
    ticket: str
    # The path of the stream, with the ticket in it.
    url: str


class UsageTotals(TypedDict):
    """What several runs of agents cost."""

    # Tokens read from the cache.
    cache_read_tokens: int
    # Tokens put into the cache.
    cache_write_tokens: int
    # US dollars.
    cost_usd: float
    # Tokens read and in no cache.
    input_tokens: int
    # Tokens written.
    output_tokens: int
    # Runs that have ended.
    runs: int
    # Of these, runs whose own cost is not known, as of all runs of codex: it is in no sum.
    runs_not_known: int
