// Made by clients/generate.py from the published schemas: do not edit.

/** What an agent is answered. */
export interface Answer {
  /** Whether it may. */
  decision: Decision;
  /** It may not, and is to stop working. */
  interrupt?: boolean;
  /** Why not, for the agent. */
  message?: string;
  /** It may, but with this input. */
  updated_input?: Record<string, unknown> | null;
  /** It may, and these rules hold from now on. */
  updated_permissions?: unknown[] | null;
}

/** `POST …/execs/{stream}/approvals/{approval}`. */
export interface AnswerRequest {
  /** `allow` or `deny`. */
  decision: string;
  /** It may not, and is to stop working. */
  interrupt?: boolean | null;
  /** Why not, for the agent. */
  message?: string | null;
  /** It may, but with this input. */
  updated_input?: Record<string, unknown> | null;
  /** It may, and these rules hold from now on. */
  updated_permissions?: unknown[] | null;
}

/** Who decided. */
export type AnsweredBy = "client" | "timeout" | "agent";

/** The data of the server-sent event `approval_answered`. */
export interface ApprovalAnsweredData {
  /** When it was given. */
  answered_at: string;
  /** Which question. */
  approval_id: string;
  /** Whose answer it is. */
  by: AnsweredBy;
  /** Whether it may. */
  decision: Decision;
  /** It may not, and is to stop working. */
  interrupt?: boolean;
  /** Id of the API key of the client; empty where none is configured. */
  key?: string;
  /** Why not, for the agent. */
  message?: string;
  /** Sequence of the order that it came with; absent if the agent withdrew the question. */
  order?: number | null;
  /** Up to which byte of its standard input the agent has been answered with this one. */
  stdin_to?: number | null;
  /** It may, but with this input. */
  updated_input?: Record<string, unknown> | null;
  /** It may, and these rules hold from now on. */
  updated_permissions?: unknown[] | null;
}

/** The data of the server-sent event `approval`. */
export interface ApprovalData {
  /** The agent's own name for the question; unique within the exec. */
  approval_id: string;
  /** When it was asked. */
  asked_at: string;
  /** When it is answered by nobody; absent if that is only when the exec ends. */
  expires_at?: string | null;
  /** With what, as the agent printed it; absent if it is long: then it is in the agent's own event alone. */
  input?: Record<string, unknown> | null;
  /** How long the input is. */
  input_bytes: number;
  /** Rules that would make the question needless from now on, as the agent printed them: one or more of them may be given back as `updated_permissions`. */
  suggestions?: unknown[] | null;
  /** The tool that it wants to use. */
  tool_name: string;
  /** What the use is called in the agent's messages; empty if it is not told. */
  tool_use_id?: string;
}

/** A question of an agent: whether it may use a tool. */
export interface ApprovalView {
  /** The answer. */
  answer?: Answer | null;
  /** When it was answered. */
  answered_at?: string | null;
  /** Whose answer it is: `client`, `timeout` or `agent`. */
  answered_by?: AnsweredBy | null;
  /** Id of the client's API key; empty where none is configured. */
  answered_key?: string;
  /** The agent's own name for the question; unique within the exec. */
  approval_id: string;
  /** When it was asked. */
  asked_at: string;
  /** When it is answered by nobody; absent if that is only when the exec ends. */
  expires_at?: string | null;
  /** With what, as the agent printed it; absent if it is long: then it is in the agent's own event alone. */
  input?: Record<string, unknown> | null;
  /** How long the input is. */
  input_bytes: number;
  /** The session. */
  session_id: string;
  /** `pending`, `allowed`, `denied`, `withdrawn`, or `unanswered` if the exec has ended without. */
  status: string;
  /** The exec. */
  stream_id: string;
  /** Rules that would make the question needless from now on, as the agent printed them: one or more of them may be given back as `updated_permissions`. */
  suggestions?: unknown[] | null;
  /** The tool that it wants to use. */
  tool_name: string;
  /** What the use is called in the agent's messages; empty if it is not told. */
  tool_use_id?: string;
}

/** A page of a list. */
export interface ApprovalViewPage {
  /** The items, in the list's order. */
  items: ApprovalView[];
  /** Give this as `cursor` for the next page; null on the last one. */
  next_cursor: string | null;
}

/** The data of the server-sent event `caught_up`. */
export type CaughtUpData = Record<string, unknown>;

/** The data of the server-sent event `claude_event`. */
export interface ClaudeEventData {
  /** The object, as the agent printed it. */
  event: Record<string, unknown>;
  /** No newline follows: the output ended without it. */
  partial?: boolean;
}

/** The data of the server-sent event `codex_event`. */
export interface CodexEventData {
  /** The object, as the agent printed it. */
  event: Record<string, unknown>;
  /** No newline follows: the output ended without it. */
  partial?: boolean;
}

/** The `data` of a `complete` event, in the log and over SSE. */
export interface Complete {
  /** The claude session that the run yielded; empty if none. */
  claude_session_id: string;
  /** The codex session that the run yielded; empty if none. */
  codex_session_id?: string;
  /** The conversation it belongs to; empty if it yielded no session of an agent. */
  conversation_id: string;
  /** From launch to end as the supervisor measured it; 0 if it never ran. */
  duration_ms: number;
  /** The process's own; 128 + n when ended by signal n; −1 when there is none to tell. */
  exit_code: number;
  /** Exit code 0, and of an agent a successful last result. */
  ok: boolean;
  /** How it ended. */
  outcome: Outcome;
  /** Why, in words, where the outcome alone does not say it. */
  reason: string;
  /** Number of the signal that ended the process. */
  signal: number | null;
  /** Bytes of standard error. */
  stderr_bytes: number | null;
  /** SHA-256 of standard error, lower-case hex. */
  stderr_sha256: string | null;
  /** Bytes of standard output, from the supervisor's end frame; null when there was none. */
  stdout_bytes: number | null;
  /** SHA-256 of standard output, lower-case hex. */
  stdout_sha256: string | null;
}

/** The data of the server-sent event `connected`. */
export interface ConnectedData {
  /** The request carried a cursor. */
  reconnecting: boolean;
  /** The session. */
  session_id: string;
  /** The exec; empty for the feed of a whole session. */
  stream_id: string;
}

/** A conversation. */
export interface ConversationView {
  /** The claude session it continues with; empty if none. */
  claude_session_id: string;
  /** The codex session it continues with, if any. */
  codex_session_id?: string | null;
  /** When its first message was written. */
  created_at: string;
  /** Its id. */
  id: string;
  /** The tenant. */
  project_id: string;
  /** The session it is held in. */
  session_id: string;
  /** `Session {first 8 of the session id}`. */
  title: string;
  /** When its last message was written. */
  updated_at: string;
  /** What it cost so far; of one conversation, not in lists. */
  usage?: UsageTotals | null;
}

/** A page of a list. */
export interface ConversationViewPage {
  /** The items, in the list's order. */
  items: ConversationView[];
  /** Give this as `cursor` for the next page; null on the last one. */
  next_cursor: string | null;
}

/** `POST /keys`. */
export interface CreateKey {
  /** After so many seconds it may not be used any more; never if absent. */
  expires_in_seconds?: number | null;
  /** What people call it. */
  name: string;
  /** In which projects: names, or `["*"]`. */
  projects: string[];
  /** What may be done with it. */
  scopes: Scope[];
}

/** `POST /projects/{id}/sessions`: exactly one of `pod`, `selector` and `template`. */
export interface CreateSession {
  /** The container; the pod's default one if absent. */
  container?: string | null;
  /** Ends the session after so long. */
  expires_in_seconds?: number | null;
  /** Ends the session when nothing has happened in it for so long. */
  idle_timeout_seconds?: number | null;
  /** The pod's namespace; the executor's default if absent. Of a template, the template says it. */
  namespace?: string | null;
  /** The pod to attach to. */
  pod?: string | null;
  /** Labels of the pod to attach to: one that is ready is chosen. */
  selector?: Record<string, string> | null;
  /** The template of the pod to make. */
  template?: string | null;
}

/** `POST …/sessions/{sid}/tickets`. */
export interface CreateTicket {
  /** The exec whose events are to be read; those of all execs of the session if absent. */
  stream_id?: string | null;
}

/** Where the cursor of a terminal is. */
export interface CursorView {
  /** Columns to the left of it. */
  col: number;
  /** Rows above it. */
  row: number;
  /** It is shown. */
  visible: boolean;
}

/** What was decided about the use of a tool. */
export type Decision = "allow" | "deny" | "withdrawn";

/** Why a session has ended. */
export type EndReason = "deleted" | "idle" | "expired" | "failed";

/** The data of the server-sent event `error`. */
export interface ErrorData {
  /** The piece, if it is UTF-8. */
  line?: string | null;
  /** The piece in base64, if it is not. */
  line_base64?: string | null;
  /** No `\n` follows: the line goes on in the next event of this stream, or the stream ends. */
  partial?: boolean;
  /** Which pipe; absent in `error`, which is always stderr. */
  stream?: OutputStream | null;
}

/** An event of a page, and of a line of `application/x-ndjson`. */
export interface EventView {
  /** Its data; `/schemas` has one for each name. */
  data: unknown;
  /** Its name. */
  event: string;
  /** Its id. */
  id: string;
}

/** `GET …/events` with `Accept: application/json`. The gateway writes it as it reads the log. */
export interface EventsPage {
  /** There is nothing behind it yet. */
  caught_up: boolean;
  /** Nothing will come any more. */
  complete: boolean;
  /** What there is behind the cursor. */
  events: EventView[];
  /** Give this as `Last-Event-ID` to go on. */
  next: string;
}

/** 201 (or 200 for a repeat) of `POST …/exec`. */
export interface ExecAccepted {
  /** The exec's stream id. */
  id: string;
  /** The session. */
  session_id: string;
  /** Always `running`. */
  status: string;
  /** Where its events are. */
  stream_url: string;
  /** The type asked for. */
  type: string;
}

/** What a command may be given beside what it is. */
export interface ExecOptions {
  /** `deny` (the default) or `cancel`: what happens when that is over. */
  approval_on_timeout?: string | null;
  /** Limit of its wait for an answer. */
  approval_timeout_seconds?: number | null;
  /** Further arguments. */
  args?: string[] | null;
  /** Resume the session's session of the agent. */
  continue_conversation?: boolean | null;
  /** Resume this session of the agent. */
  conversation_id?: string | null;
  /** Working directory. */
  cwd?: string | null;
  /** Added to the environment; logged. */
  env?: Record<string, string> | null;
  /** Limit of its silence. */
  idle_timeout_seconds?: number | null;
  /** One pipe for both outputs. */
  merge?: boolean | null;
  /** `ask`: the agent asks before it uses tools. For `claude`. */
  permissions?: string | null;
  /** Limit of its wait for a start. */
  queue_timeout_seconds?: number | null;
  /** Added to the environment from Secrets; only the references are logged. */
  secret_env?: Record<string, SecretRequest> | null;
  /** Initial standard input. */
  stdin?: string | null;
  /** More standard input will come. */
  stdin_open?: boolean | null;
  /** The exec's id, if the client wants to name it. */
  stream_id?: string | null;
  /** Limit of its run. */
  timeout_seconds?: number | null;
  /** A terminal. */
  tty?: TerminalRequest | null;
}

/** `POST …/exec`: loose, as it comes; the gateway makes a [`event::CommandSpec`] of it. Unknown fields are ignored here, as the original API did. */
export interface ExecRequest {
  /** `deny` (the default) or `cancel`: what happens when that is over. */
  approval_on_timeout?: string | null;
  /** Limit of its wait for an answer. */
  approval_timeout_seconds?: number | null;
  /** Further arguments. */
  args?: string[] | null;
  /** For `shell` and `git`. */
  command?: string | null;
  /** Resume the session's session of the agent. */
  continue_conversation?: boolean | null;
  /** Resume this session of the agent. */
  conversation_id?: string | null;
  /** Working directory. */
  cwd?: string | null;
  /** Added to the environment; logged. */
  env?: Record<string, string> | null;
  /** Limit of its silence. */
  idle_timeout_seconds?: number | null;
  /** One pipe for both outputs. */
  merge?: boolean | null;
  /** `ask`: the agent asks before it uses tools. For `claude`. */
  permissions?: string | null;
  /** For `claude` and `codex`. */
  prompt?: string | null;
  /** Limit of its wait for a start. */
  queue_timeout_seconds?: number | null;
  /** Added to the environment from Secrets; only the references are logged. */
  secret_env?: Record<string, SecretRequest> | null;
  /** Initial standard input. */
  stdin?: string | null;
  /** More standard input will come. */
  stdin_open?: boolean | null;
  /** The exec's id, if the client wants to name it. */
  stream_id?: string | null;
  /** Limit of its run. */
  timeout_seconds?: number | null;
  /** A terminal. */
  tty?: TerminalRequest | null;
  /** `shell`, `git`, `claude` or `codex`. */
  type?: string;
}

/** An exec in the read model. */
export interface ExecView {
  /** Claims so far. */
  attempts: number;
  /** The `complete` event's data, once there is one. */
  complete: Complete | null;
  /** When it ended. */
  completed_at: string | null;
  /** When it was asked for. */
  created_at: string;
  /** Its stream id. */
  id: string;
  /** Where it stands, while it waits for its turn. */
  queue?: QueuePlace | null;
  /** The session. */
  session_id: string;
  /** When it was first claimed. */
  started_at: string | null;
  /** `queued`, `running` or `complete`. */
  status: string;
  /** The first 200 characters of its command, of `git` with its arguments, or of its prompt. */
  summary?: string;
  /** `shell`, `git`, `claude` or `codex`. */
  type: string;
  /** What it cost, for agents, once the CLI and the read model have told it. */
  usage?: RunUsage | null;
}

/** A page of a list. */
export interface ExecViewPage {
  /** The items, in the list's order. */
  items: ExecView[];
  /** Give this as `cursor` for the next page; null on the last one. */
  next_cursor: string | null;
}

/** Something that became of an exec: an item of `GET …/execs/{stream}/timeline`. */
export interface FactView {
  /** When it was written into the log. */
  at: string;
  /** The claim that it is of; 0 before the first. */
  attempt: number;
  /** What the log has of it; of `command` without `stdin` and the values of `env`, and of `cancel` `by` and `reason`. */
  data: unknown;
  /** `command`, `admitted`, `started`, `resumed`, `cancel` or `complete`; others may be added. */
  event: string;
}

/** A page of a list. */
export interface FactViewPage {
  /** The items, in the list's order. */
  items: FactView[];
  /** Give this as `cursor` for the next page; null on the last one. */
  next_cursor: string | null;
}

/** The data of the server-sent event `gap`. */
export interface GapData {
  /** The number of the first event that is left; null if none is. */
  first_available?: number | null;
  /** Why, in one word: `expired`, `unreadable`. */
  reason: string;
  /** The number of the event that should have come next; null in the feed of a whole session that began in the middle of the exec. */
  requested?: number | null;
  /** The exec, in the feed of a whole session. */
  stream_id?: string | null;
}

/** The data of the server-sent event `heartbeat`. */
export interface HeartbeatData {
  /** The gateway's clock. */
  timestamp: string;
}

/** A key id. */
export type KeyId = string;

/** `GET /keys`. */
export interface KeyList {
  /** The oldest first; those that were revoked or have expired are among them. */
  items: KeyView[];
}

/** 201 of `POST /keys` and 200 of `POST /keys/{key}/rotate`: the only answers that show a key. */
export interface KeyMade {
  /** When it was made. */
  created_at: string;
  /** From when on it may not be used. */
  expires_at: string | null;
  /** Its id. */
  id: KeyId;
  /** `rdev_{id}_{secret}`: not shown again. */
  key: string;
  /** When it was used last, to the minute. */
  last_used_at: string | null;
  /** What people call it. */
  name: string;
  /** In which projects. */
  projects: string[];
  /** When it was ended. */
  revoked_at: string | null;
  /** When it was given another secret. */
  rotated_at: string | null;
  /** What. */
  scopes: Scope[];
}

/** A key, without its secret. */
export interface KeyView {
  /** When it was made. */
  created_at: string;
  /** From when on it may not be used. */
  expires_at: string | null;
  /** Its id. */
  id: KeyId;
  /** When it was used last, to the minute. */
  last_used_at: string | null;
  /** What people call it. */
  name: string;
  /** In which projects. */
  projects: string[];
  /** When it was ended. */
  revoked_at: string | null;
  /** When it was given another secret. */
  rotated_at: string | null;
  /** What. */
  scopes: Scope[];
}

/** A message of a conversation. */
export interface MessageView {
  /** The text; of `tool_use`, the input as JSON. */
  content: string;
  /** When it was written. */
  created_at: string;
  /** Its id. */
  id: string;
  /** Whether the tool failed, where a `tool_result` says it. */
  is_error?: boolean | null;
  /** The `tool_use` that runs the agent which this is of. */
  parent_tool_use_id?: string | null;
  /** `user`, `tool_use`, `tool_result` or `assistant`. */
  role: string;
  /** The exec it belongs to. */
  stream_id: string;
  /** The tool that is used. */
  tool_name?: string | null;
  /** What a `tool_use` and its `tool_result` have in common. */
  tool_use_id?: string | null;
  /** Whether the content is only the beginning: the events have all of it. */
  truncated?: boolean;
}

/** A page of a list. */
export interface MessageViewPage {
  /** The items, in the list's order. */
  items: MessageView[];
  /** Give this as `cursor` for the next page; null on the last one. */
  next_cursor: string | null;
}

/** How an exec ended. */
export type Outcome = "exited" | "signaled" | "timed_out" | "canceled" | "lost" | "rejected";

/** The data of the server-sent event `output`. */
export interface OutputData {
  /** The piece, if it is UTF-8. */
  line?: string | null;
  /** The piece in base64, if it is not. */
  line_base64?: string | null;
  /** No `\n` follows: the line goes on in the next event of this stream, or the stream ends. */
  partial?: boolean;
  /** Which pipe; absent in `error`, which is always stderr. */
  stream?: OutputStream | null;
}

/** Which pipe of the command. */
export type OutputStream = "stdout" | "stderr";

/** A pod name. */
export type PodName = string;

/** How far the pod of a session is. */
export type PodState = "pending" | "ready" | "failed" | "deleted";

/** RFC 9457 problem details, with a stable `code`. */
export interface Problem {
  /** What is wrong, for programs. Stable. */
  code: string;
  /** What is wrong and what to do, for people. */
  detail: string;
  /** On a 410: the number of the first event, or the first byte, that is left; absent if none is. */
  first_available?: number | null;
  /** On a refused piece of standard input: where the next one has to begin. */
  next_offset?: number | null;
  /** On a 503 of a write: whether it may have happened all the same. */
  outcome_unknown?: boolean | null;
  /** On a 410 of events: the event id with which a reader goes on at `first_available`. */
  resume_from?: string | null;
  /** The HTTP status. */
  status: number;
  /** On a 503 of a POST exec: the stream id to try again with. */
  stream_id?: string | null;
  /** The status in words. */
  title: string;
  /** The trace that the request was a part of: what to name when asking about it. */
  trace_id?: string | null;
  /** `about:blank`: the code says what it is. */
  type: string;
}

/** `GET /projects/{id}/usage`. */
export interface ProjectUsage {
  /** Tokens read from the cache. */
  cache_read_tokens: number;
  /** Tokens put into the cache. */
  cache_write_tokens: number;
  /** US dollars. */
  cost_usd: number;
  /** Tokens read and in no cache. */
  input_tokens: number;
  /** Tokens written. */
  output_tokens: number;
  /** The tenant. */
  project_id: string;
  /** Runs that have ended. */
  runs: number;
  /** Of these, runs whose own cost is not known, as of all runs of codex: it is in no sum. */
  runs_not_known: number;
  /** Of execs that were asked for from this time on. */
  since: string | null;
  /** Of execs that were asked for before this time. */
  until: string | null;
}

/** A project that whoever asks may look into: an item of `GET /projects`. */
export interface ProjectView {
  /** Its id. */
  id: string;
  /** What they may do there. */
  scopes: Scope[];
}

/** A page of a list. */
export interface ProjectViewPage {
  /** The items, in the list's order. */
  items: ProjectView[];
  /** Give this as `cursor` for the next page; null on the last one. */
  next_cursor: string | null;
}

/** Where a command stands that waits. Shown as `queue` of an exec and as the data of `queued`. */
export interface QueuePlace {
  /** How many commands of its session that wait were there before it. */
  ahead_in_session: number;
  /** Its place among the commands of its project that wait, from 1. It never grows. */
  position: number;
  /** What it waits for; absent when it is about to be admitted. */
  reason?: WaitReason | null;
}

/** The data of the server-sent event `reconnect`. */
export interface ReconnectData {
  /** Why, in one word: `draining`, `overloaded`, `not_started`, `log_unavailable`, `lifetime`. */
  reason: string;
}

/** The data of the server-sent event `resized`. */
export interface ResizedData {
  /** In a row. */
  cols: number;
  /** Rows. */
  rows: number;
}

/** `POST /keys/{key}/rotate`. */
export interface RotateKey {
  /** For so many seconds the former secret may still be used; an hour if absent. */
  grace_seconds?: number | null;
}

/** What one run of an agent cost. Null where it is not known for certain: codex prints no cost, and some versions of both CLIs print sums over all runs of their session. */
export interface RunUsage {
  /** Tokens read from the cache. */
  cache_read_tokens: number | null;
  /** Tokens put into the cache. */
  cache_write_tokens: number | null;
  /** The version of the CLI. */
  cli_version: string | null;
  /** US dollars, of this run alone. */
  cost_usd: number | null;
  /** Tokens read and in no cache, of this run alone, as the three below. */
  input_tokens: number | null;
  /** `modelUsage` as the CLI printed it; of one exec, not in lists. */
  model_usage?: unknown;
  /** Tokens written. */
  output_tokens: number | null;
  /** As the CLI printed it. */
  total_cost_usd: number | null;
  /** `usage` as the CLI printed it; of one exec, not in lists. */
  usage?: unknown;
}

/** What may be done. None includes another. */
export type Scope = "read" | "exec" | "admin";

/** `GET …/execs/{stream}/screen`: what the terminal of an exec shows. */
export interface ScreenView {
  /** What makes a terminal of this size look and behave like this one, beginning with a reset. */
  ansi?: string | null;
  /** The same in base64, if it ends within a character. */
  ansi_base64?: string | null;
  /** Characters in a row. */
  cols: number;
  /** The cursor. */
  cursor: CursorView;
  /** The rows as text, without the blanks at their ends. */
  lines: string[];
  /** The id of the last event that it includes: give this as `Last-Event-ID` to go on behind it. */
  next: string;
  /** Rows. */
  rows: number;
}

/** A value of a Secret, as it is asked for. */
export interface SecretRequest {
  /** Which of its values. */
  key: string;
  /** The Secret. */
  name: string;
}

/** The data of the server-sent event `session`. */
export interface SessionData {
  /** When the session ends unless something happens in it. */
  idle_ends_at?: string | null;
  /** The pod, once it is known. */
  pod?: PodName | null;
  /** What is waited for, or why there is no pod. */
  pod_message?: string;
  /** What has become of its pod, if it is made or chosen. */
  pod_state?: PodState | null;
  /** Why it has ended. */
  reason?: EndReason | null;
  /** `active` or `ended`. */
  status: string;
}

/** A session. */
export interface SessionView {
  /** The claude session it continues with, once there is one. */
  claude_session_id: string | null;
  /** The codex session that codex continues it with, once there is one. */
  codex_session_id?: string | null;
  /** The container, if one was given. */
  container?: string | null;
  /** The conversation held in it. */
  conversation_id: string;
  /** When it was created. */
  created_at: string;
  /** When it was ended. */
  ended_at: string | null;
  /** Why: `deleted`, `idle`, `expired` or `failed`. */
  ended_reason?: string | null;
  /** When it ends, whatever happens. */
  expires_at?: string | null;
  /** Its id. */
  id: string;
  /** When it ends unless something happens: it has been warned. */
  idle_ends_at?: string | null;
  /** It ends when nothing has happened in it for so long. */
  idle_timeout_seconds?: number | null;
  /** Its namespace, if one was given. */
  namespace?: string | null;
  /** The pod; null until one was chosen. */
  pod: string | null;
  /** What is waited for, or why there is none. */
  pod_message?: string | null;
  /** What has become of it, if it is made or chosen. */
  pod_state?: string | null;
  /** The tenant. */
  project_id: string;
  /** The labels that the pod is chosen by, if it is. */
  selector?: Record<string, string>;
  /** `active` or `ended`. */
  status: string;
  /** The template that the pod is made from, if it is. */
  template?: string | null;
}

/** A page of a list. */
export interface SessionViewPage {
  /** The items, in the list's order. */
  items: SessionView[];
  /** Give this as `cursor` for the next page; null on the last one. */
  next_cursor: string | null;
}

/** `POST …/execs/{stream}/signal`. */
export interface SignalRequest {
  /** One of [`control::SignalName`]. */
  signal: string;
}

/** 202 of `POST …/execs/{stream}/stdin`. */
export interface StdinAccepted {
  /** Nothing comes after it. */
  ended: boolean;
  /** Everything before this byte is stored: what comes next begins here. */
  next_offset: number;
}

/** The size of a terminal, as it is asked for: of a new one, and `POST …/execs/{stream}/resize`. */
export interface TerminalRequest {
  /** Characters in a row. */
  cols: number;
  /** Rows. */
  rows: number;
}

/** 201 of `POST …/sessions/{sid}/tickets`: for a browser's `EventSource`, which can send no key. */
export interface TicketMade {
  /** A reader that was there already can come back before this. */
  resume_until: string;
  /** The stream is to be begun before this. */
  start_by: string;
  /** Given as `?ticket=`. */
  ticket: string;
  /** The path of the stream, with the ticket in it. */
  url: string;
}

/** What several runs of agents cost. */
export interface UsageTotals {
  /** Tokens read from the cache. */
  cache_read_tokens: number;
  /** Tokens put into the cache. */
  cache_write_tokens: number;
  /** US dollars. */
  cost_usd: number;
  /** Tokens read and in no cache. */
  input_tokens: number;
  /** Tokens written. */
  output_tokens: number;
  /** Runs that have ended. */
  runs: number;
  /** Of these, runs whose own cost is not known, as of all runs of codex: it is in no sum. */
  runs_not_known: number;
}

/** What a command waits for. */
export type WaitReason = "session_limit" | "project_limit" | "agent_session" | "session_not_ready" | "slots" | "no_executor";
