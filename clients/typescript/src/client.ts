import { ConflictError, IncompleteError } from "./errors.js";
import type { Event } from "./events.js";
import { follow, type FollowOptions } from "./follow.js";
import { Http, query, type Options, type Query } from "./http.js";
import type {
  AnswerRequest,
  ApprovalView,
  Complete,
  ConversationView,
  CreateSession,
  ExecAccepted,
  ExecOptions,
  ExecRequest,
  ExecView,
  FactView,
  MessageView,
  Outcome,
  OutputStream,
  ProjectUsage,
  SessionView,
  StdinAccepted,
  TicketMade,
} from "./types.js";

/** What to run: `type` and what belongs to it. */
export type Command = ExecRequest & { type: "shell" | "git" | "claude" | "codex" };

/** Created at or after `since` and before `until`, as in `2026-11-22T06:21:00Z`. */
export type Times = { since?: string; until?: string };
export type ExecFilter = { status?: "queued" | "running" | "complete"; outcome?: Outcome };
export type ApprovalFilter = { status?: "pending" | "allowed" | "denied" | "withdrawn" | "unanswered" };

/** Everything that a command printed, and how it ended. */
export interface Collected {
  complete: Complete;
  stdout: Uint8Array;
  stderr: Uint8Array;
}

/** How long one request waits for the end of an exec, in seconds. */
const WAIT_SECONDS = 30;
/** The most that one request may bring. */
const STDIN_PIECE_MAX_BYTES = 512 * 1024;

/** One project of an rdev. */
export class Rdev {
  readonly #http: Http;

  constructor(options: Options) {
    this.#http = new Http(options);
  }

  /**
   * A new session. Not sent again when nobody knows what became of it, because that would make two:
   * a `TransportError` may mean that there is one.
   */
  async createSession(request: CreateSession): Promise<Session> {
    const call = { method: "POST", path: "/sessions", json: request, repeatable: false } as const;
    return new Session(this.#http, (await this.#http.json<SessionView>(call)).id);
  }

  /** A session that is there. Nothing is sent. */
  session(id: string): Session {
    return new Session(this.#http, id);
  }

  /** Newest first, as many as are read. */
  sessions(filter: Times & { status?: "active" | "ended" } = {}) {
    return items<SessionView>(this.#http, "/sessions", filter);
  }

  /** Execs of all sessions, newest first. */
  execs(filter: Times & ExecFilter & { session?: string } = {}) {
    return items<ExecView>(this.#http, "/execs", filter);
  }

  /** Newest first. */
  conversations(filter: Times & { session?: string } = {}) {
    return items<ConversationView>(this.#http, "/conversations", filter);
  }

  /** One conversation with its cost. */
  conversation(id: string): Promise<ConversationView> {
    return this.#http.json({ method: "GET", path: `/conversations/${id}`, repeatable: true });
  }

  /** The messages of a conversation, oldest first. */
  messages(conversation: string) {
    return items<MessageView>(this.#http, `/conversations/${conversation}/messages`, {});
  }

  /** What agents cost. */
  usage(filter: Times = {}): Promise<ProjectUsage> {
    return this.#http.json({ method: "GET", path: `/usage${query(filter)}`, repeatable: true });
  }
}

async function* items<Item>(http: Http, path: string, filter: Query): AsyncGenerator<Item> {
  let cursor: string | undefined;
  do {
    const call = { method: "GET", path: path + query({ ...filter, cursor }), repeatable: true } as const;
    const page = await http.json<{ items: Item[]; next_cursor: string | null }>(call);
    yield* page.items;
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined);
}

/** A pod, and the conversation held in it. */
export class Session {
  readonly #http: Http;
  readonly #path: string;

  constructor(
    http: Http,
    /** Its id. */
    readonly id: string,
  ) {
    this.#http = http;
    this.#path = `/sessions/${encodeURIComponent(id)}`;
  }

  view(): Promise<SessionView> {
    return this.#http.json({ method: "GET", path: this.#path, repeatable: true });
  }

  /** Ends it: no new exec from here on; with `cancel`, its execs too. */
  end(options: { cancel?: boolean } = {}): Promise<SessionView> {
    return this.#http.json({ method: "DELETE", path: this.#path + query(options), repeatable: true });
  }

  /**
   * Runs a command. It has an id before it is sent, so it is sent again until there is an answer and
   * still runs once. Give your own `stream_id` to have that across restarts of your program too.
   */
  async exec(command: Command): Promise<Exec> {
    const json = { ...command, stream_id: command.stream_id ?? `exec-${crypto.randomUUID()}` };
    const call = { method: "POST", path: `${this.#path}/exec`, json, repeatable: true } as const;
    return this.attach((await this.#http.json<ExecAccepted>(call)).id);
  }

  /** Runs a line of shell. */
  shell(command: string, options: ExecOptions = {}): Promise<Exec> {
    return this.exec({ ...options, type: "shell", command });
  }

  /** Runs git, never through a shell. */
  git(command: string, args: string[] = [], options: ExecOptions = {}): Promise<Exec> {
    return this.exec({ ...options, type: "git", command, args });
  }

  /** Has claude do something. */
  claude(prompt: string, options: ExecOptions = {}): Promise<Exec> {
    return this.exec({ ...options, type: "claude", prompt });
  }

  /** Has codex do something. */
  codex(prompt: string, options: ExecOptions = {}): Promise<Exec> {
    return this.exec({ ...options, type: "codex", prompt });
  }

  /** An exec that is there, or will be. Nothing is sent. */
  attach(id: string): Exec {
    return new Exec(this.#http, this.id, id);
  }

  /** Its execs, newest first. */
  execs(filter: ExecFilter = {}) {
    return items<ExecView>(this.#http, `${this.#path}/execs`, filter);
  }

  /** The events of all its execs on one connection: of all that there are, or with `tail: 0` from now on. */
  follow(options: FollowOptions = {}): AsyncGenerator<Event, void, undefined> {
    return follow(this.#http, `${this.#path}/events`, "", options);
  }

  /** What its agents have asked. */
  async approvals(filter: ApprovalFilter = {}): Promise<ApprovalView[]> {
    const path = `${this.#path}/approvals${query(filter)}`;
    return (await this.#http.json<{ items: ApprovalView[] }>({ method: "GET", path, repeatable: true })).items;
  }

  /** An address for a browser's `EventSource`: of one exec, or of the whole session. */
  ticket(exec?: string): Promise<TicketMade> {
    const json = exec === undefined ? {} : { stream_id: exec };
    return this.#http.json({ method: "POST", path: `${this.#path}/tickets`, json, repeatable: true });
  }
}

/** One command. */
export class Exec {
  readonly #http: Http;
  readonly #session: string;
  readonly #path: string;
  #offset: number | undefined;

  constructor(
    http: Http,
    readonly session: string,
    /** Its id, which is that of its stream. */
    readonly id: string,
  ) {
    this.#http = http;
    this.#session = `/sessions/${encodeURIComponent(session)}`;
    this.#path = `${this.#session}/execs/${encodeURIComponent(id)}`;
  }

  view(): Promise<ExecView> {
    return this.#http.json({ method: "GET", path: this.#path, repeatable: true });
  }

  /**
   * Its events, each once and in order, whatever breaks meanwhile; ends after `complete`. Keep the `id`
   * of the last one that you have dealt with, and give it as `after` to go on in another process.
   */
  follow(options: FollowOptions = {}): AsyncGenerator<Event, void, undefined> {
    return follow(this.#http, `${this.#session}/events`, this.id, options);
  }

  /** What became of it: asked for, admitted, started, taken over, complete. */
  timeline() {
    return items<FactView>(this.#http, `${this.#path}/timeline`, {});
  }

  /** How it ended, once it has. */
  async result(options: { signal?: AbortSignal } = {}): Promise<Complete> {
    const path = this.#path + query({ wait: WAIT_SECONDS });
    for (;;) {
      const call = { method: "GET", path, repeatable: true, signal: options.signal } as const;
      const { complete } = await this.#http.json<ExecView>(call);
      if (complete !== null) return complete;
    }
  }

  /** Follows it to the end and joins what it printed, in memory. */
  async collect(options: { signal?: AbortSignal } = {}): Promise<Collected> {
    const pieces: Record<OutputStream, Uint8Array[]> = { stdout: [], stderr: [] };
    for await (const event of this.follow(options)) {
      if (event.type === "gap") throw new IncompleteError(`events before ${event.gap.first_available} have expired`);
      if ("bytes" in event) pieces[event.stream].push(event.bytes);
      if (event.type !== "complete") continue;
      const [stdout, stderr] = [joined(pieces.stdout), joined(pieces.stderr)];
      const { complete } = event;
      if ((complete.stdout_bytes ?? stdout.length) !== stdout.length || (complete.stderr_bytes ?? stderr.length) !== stderr.length) {
        throw new IncompleteError("what came is not as long as what was printed");
      }
      return { complete, stdout, stderr };
    }
    throw new IncompleteError("the events ended without complete");
  }

  /** The exact bytes that it has printed so far, from `from` on. */
  async output(stream: OutputStream = "stdout", from = 0): Promise<Uint8Array> {
    const headers: Record<string, string> = from > 0 ? { range: `bytes=${from}-` } : {};
    const call = { method: "GET", path: `${this.#path}/output${query({ stream })}`, headers, repeatable: true } as const;
    return new Uint8Array(await (await this.#http.send(call)).arrayBuffer());
  }

  /** Ends it and everything that it has started. Sent twice it is canceled once. */
  async cancel(): Promise<void> {
    await this.#order("cancel", undefined, true);
  }

  /** Sends a signal by name, such as `INT`. Not sent again when nobody knows what became of it. */
  async signal(signal: string): Promise<void> {
    await this.#order("signal", { signal }, false);
  }

  /** Another size for its terminal. */
  async resize(cols: number, rows: number): Promise<void> {
    await this.#order("resize", { cols, rows }, true);
  }

  async #order(what: string, json: unknown, repeatable: boolean): Promise<void> {
    await this.#http.send({ method: "POST", path: `${this.#path}/${what}`, json: json ?? {}, repeatable });
  }

  /**
   * Gives it standard input (with `stdin_open`): all of it once, however often it has to be sent. Waits
   * where the command does not read. One writer at a time.
   */
  async write(input: string | Uint8Array): Promise<void> {
    const bytes = typeof input === "string" ? new TextEncoder().encode(input) : input;
    for (let at = 0; at < bytes.length; at += STDIN_PIECE_MAX_BYTES) {
      await this.#piece(bytes.subarray(at, at + STDIN_PIECE_MAX_BYTES), false);
    }
  }

  /** Ends its standard input. */
  async closeInput(): Promise<void> {
    await this.#piece(new Uint8Array(), true);
  }

  async #piece(bytes: Uint8Array, end: boolean): Promise<void> {
    this.#offset ??= await this.#inputOffset();
    const path = `${this.#path}/stdin${query({ offset: this.#offset, end: end || undefined })}`;
    const accepted = await this.#http.json<StdinAccepted>({ method: "POST", path, bytes, repeatable: true });
    this.#offset = accepted.next_offset;
  }

  /** An empty piece asks where the next one begins. */
  async #inputOffset(): Promise<number> {
    const path = `${this.#path}/stdin${query({ offset: 0 })}`;
    const call = { method: "POST", path, bytes: new Uint8Array(), repeatable: true } as const;
    try {
      return (await this.#http.json<StdinAccepted>(call)).next_offset;
    } catch (error) {
      const next = error instanceof ConflictError ? error.problem.next_offset : undefined;
      if (error instanceof ConflictError && error.code === "stdin_gap" && next != null) return next;
      throw error;
    }
  }

  /** What its agent has asked. */
  async approvals(filter: ApprovalFilter = {}): Promise<ApprovalView[]> {
    const path = `${this.#path}/approvals${query(filter)}`;
    return (await this.#http.json<{ items: ApprovalView[] }>({ method: "GET", path, repeatable: true })).items;
  }

  /** Lets its agent use a tool, or not. The same answer twice is one. */
  answer(approval: string, answer: AnswerRequest & { decision: "allow" | "deny" }): Promise<ApprovalView> {
    const path = `${this.#path}/approvals/${encodeURIComponent(approval)}`;
    return this.#http.json({ method: "POST", path, json: answer, repeatable: true });
  }

  /** An address for a browser's `EventSource`. */
  ticket(): Promise<TicketMade> {
    return new Session(this.#http, this.session).ticket(this.id);
  }
}

function joined(pieces: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
