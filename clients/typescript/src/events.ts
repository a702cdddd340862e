import type {
  ApprovalAnsweredData,
  ApprovalData,
  Complete,
  GapData,
  OutputStream,
  QueuePlace,
  ResizedData,
  SessionData,
} from "./types.js";
import type { Frame } from "./sse.js";

/** What every event has. */
export interface Place {
  /** Where to go on: give it as `after`. */
  readonly id: string;
  /** Its number in its exec, from 1, without gaps; of what is in no log, that of the event before. */
  readonly number: number;
  /** The exec; empty for what is of the session as a whole. */
  readonly exec: string;
}

/** What a command printed. Joined, the `bytes` of one stream are what it printed, byte for byte. */
export interface OutputEvent extends Place {
  type: "output";
  stream: OutputStream;
  /** The bytes, with the newline if there was one. */
  bytes: Uint8Array;
  /** The same as text, without the newline; what is not UTF-8 is replaced. */
  text: string;
  /** No newline follows: the line goes on, or the output ends. */
  partial: boolean;
}

/** A line of JSON that an agent printed. */
export interface AgentEvent<Agent extends string, Message> extends Place {
  type: Agent;
  message: Message;
  stream: "stdout";
  /** The line, byte for byte. */
  bytes: Uint8Array;
}

export type ClaudeEvent = AgentEvent<"claude", ClaudeMessage>;
export type CodexEvent = AgentEvent<"codex", { type: string; [member: string]: unknown }>;

/** A part of what claude says or is told. There may be other types. */
export type ClaudeBlock =
  | { type: "text"; text: string }
  | { type: "thinking"; thinking: string }
  | { type: "tool_use"; id: string; name: string; input: Record<string, unknown> }
  | { type: "tool_result"; tool_use_id: string; content?: unknown; is_error?: boolean };

/** What the Claude CLI prints, as far as it is known here. There may be other types and members. */
export type ClaudeMessage =
  | { type: "system"; subtype: string; session_id?: string; model?: string; tools?: string[]; cwd?: string }
  | { type: "assistant"; message: { content: ClaudeBlock[]; model?: string; usage?: unknown }; parent_tool_use_id?: string | null; session_id?: string }
  | { type: "user"; message: { content: string | ClaudeBlock[] }; parent_tool_use_id?: string | null; session_id?: string }
  | { type: "result"; subtype: string; is_error: boolean; result?: string; session_id: string; num_turns?: number; duration_ms?: number; total_cost_usd?: number; usage?: unknown };

/** What `follow` gives. */
export type Event =
  | OutputEvent
  | ClaudeEvent
  | CodexEvent
  | (Place & { type: "complete" } & { complete: Complete })
  | (Place & { type: "approval"; approval: ApprovalData })
  | (Place & { type: "approval_answered"; answer: ApprovalAnsweredData })
  | (Place & { type: "resized"; size: ResizedData })
  /** Events that are missing because retention has removed them. */
  | (Place & { type: "gap"; gap: GapData })
  /** It waits for its turn. */
  | (Place & { type: "queued"; queue: QueuePlace })
  /** The replay has reached the present. */
  | (Place & { type: "caught_up" })
  /** What has become of the session. */
  | (Place & { type: "session"; session: SessionData })
  /** Of a later version of the server. */
  | (Place & { type: "other"; name: string; data: unknown });

/** Frames that the gateway makes, which are not in the log and have no number of their own. */
export const UNNUMBERED = new Set([
  "connected",
  "caught_up",
  "heartbeat",
  "gap",
  "queued",
  "session",
  "reconnect",
]);

const ENCODER = new TextEncoder();
const NEWLINE = 10;

function withNewline(bytes: Uint8Array, partial: boolean): Uint8Array {
  if (partial) return bytes;
  const line = new Uint8Array(bytes.length + 1);
  line.set(bytes);
  line[bytes.length] = NEWLINE;
  return line;
}

function outputEvent(place: Place, data: Record<string, unknown>): OutputEvent {
  const bytes =
    typeof data.line_base64 === "string"
      ? Uint8Array.from(atob(data.line_base64), (letter) => letter.charCodeAt(0))
      : ENCODER.encode(String(data.line ?? ""));
  const text = typeof data.line === "string" ? data.line : new TextDecoder().decode(bytes);
  const partial = data.partial === true;
  // The stderr of agents comes without saying so.
  const stream = data.stream === "stdout" ? "stdout" : "stderr";
  return { ...place, type: "output", stream, bytes: withNewline(bytes, partial), text, partial };
}

/** The line itself stands in the data, between `"event":` and what may follow it. */
function agentLine(data: string): Uint8Array {
  const begin = data.indexOf('"event":') + '"event":'.length;
  const partialEnd = ',"partial":true}';
  const partial = data.endsWith(partialEnd);
  const end = data.length - (partial ? partialEnd.length : 1);
  return withNewline(ENCODER.encode(data.slice(begin, end)), partial);
}

export function decode(frame: Frame, exec: string): Event {
  const data = JSON.parse(frame.data) as Record<string, unknown>;
  const place: Place = {
    id: frame.id,
    number: Number(frame.id.split("-")[1] ?? 0),
    exec: typeof data.stream_id === "string" ? data.stream_id : exec,
  };
  const told = data as never;
  switch (frame.event) {
    case "output":
    case "error":
      return outputEvent(place, data);
    case "claude_event":
    case "codex_event": {
      const message = data.event as never;
      const type = frame.event === "claude_event" ? "claude" : "codex";
      return { ...place, type, message, stream: "stdout", bytes: agentLine(frame.data) };
    }
    case "complete":
      return { ...place, type: "complete", complete: told };
    case "approval":
      return { ...place, type: "approval", approval: told };
    case "approval_answered":
      return { ...place, type: "approval_answered", answer: told };
    case "resized":
      return { ...place, type: "resized", size: told };
    case "gap":
      return { ...place, type: "gap", gap: told };
    case "queued":
      return { ...place, type: "queued", queue: told };
    case "caught_up":
      return { ...place, type: "caught_up" };
    case "session":
      return { ...place, type: "session", session: told };
    default:
      return { ...place, type: "other", name: frame.event, data };
  }
}
