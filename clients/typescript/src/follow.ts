import { TransportError } from "./errors.js";
import { UNNUMBERED, decode, type Event } from "./events.js";
import { mayHelp, query, retryAfter, type Http } from "./http.js";
import { Retry } from "./retry.js";
import { frames } from "./sse.js";

/** How to follow. */
export interface FollowOptions {
  /** The id of the last event that was dealt with; everything from the beginning where it is not said. */
  after?: string | undefined;
  /** Where there is no `after`: begin with the last so many events. Of a whole session only 0, from now on. */
  tail?: number;
  /** Throw an `ExpiredError` where retention has removed something, in the place of a `gap` event. */
  strict?: boolean;
  /** Ends it; its reason is thrown. */
  signal?: AbortSignal | undefined;
}

/** Which events were given already. */
class Numbers {
  readonly #last = new Map<string, number>();
  #gap = false;

  constructor(
    after: string | undefined,
    tail: number | undefined,
    private readonly ofOneExec: boolean,
  ) {
    const [, number, tag] = after?.split("-") ?? [];
    if (tag !== undefined) this.#last.set(tag, Number(number));
    else if (tail !== undefined) this.#gap = true;
    else if (ofOneExec) this.#last.set("", 0);
  }

  /** Whether the event of this id is one that was not given yet. Throws if one is missing before it. */
  isNew(id: string): boolean {
    const [, digits, tag = ""] = id.split("-");
    const number = Number(digits);
    const last = this.#last.get(tag) ?? this.#last.get("");
    if (last !== undefined && number <= last) return false;
    if (this.ofOneExec && !this.#gap && number !== (last ?? 0) + 1) {
      throw new TransportError(`event ${number} came after ${last ?? 0}`);
    }
    this.#gap = false;
    this.#last.set(tag, number);
    return true;
  }

  /** What comes next may have any number. */
  gap(): void {
    this.#gap = true;
  }
}

/** The text of a body; nothing for `silenceMs` is a connection that broke without a word. */
async function* text(
  body: ReadableStream<Uint8Array>,
  silenceMs: number,
): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  try {
    for (;;) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const silence = new Promise<never>((_, reject) => {
        const silent = () => reject(new TransportError(`nothing came for ${silenceMs} ms`));
        timer = setTimeout(silent, silenceMs);
      });
      const read = reader.read().catch((error: unknown) => {
        throw new TransportError(`the event stream broke: ${String(error)}`, { cause: error });
      });
      const { done, value } = await Promise.race([read, silence]).finally(() => clearTimeout(timer));
      if (done) return;
      yield decoder.decode(value, { stream: true });
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/**
 * The events at `path`, each once and in order, across whatever breaks: it comes again behind the last
 * one. Of an exec it ends after `complete`, or at once if `after` is the end.
 */
export async function* follow(
  http: Http,
  path: string,
  exec: string,
  options: FollowOptions,
): AsyncGenerator<Event, void, undefined> {
  const { signal } = options;
  const ofOneExec = exec !== "";
  const numbers = new Numbers(options.after, options.tail, ofOneExec);
  const retry = new Retry(http.patienceMs);
  let cursor = options.after;
  for (;;) {
    signal?.throwIfAborted();
    let failure: unknown = new TransportError("the event stream ended");
    let told: number | undefined;
    // Closes the connection, however this turn ends.
    const connection = new AbortController();
    const connecting = setTimeout(() => connection.abort(), http.silenceMs);
    try {
      const headers: Record<string, string> = { accept: "text/event-stream" };
      if (cursor !== undefined) headers["last-event-id"] = cursor;
      const tail = cursor === undefined ? options.tail : undefined;
      const address = path + query({ stream_id: exec || undefined, strict: options.strict, tail });
      const call = { method: "GET", path: address, headers, repeatable: true, signal } as const;
      const response = await http.once(call, connection.signal);
      clearTimeout(connecting);
      if (response.status === 204 || response.body === null) return;
      for await (const frame of frames(text(response.body, http.silenceMs))) {
        if (frame.id !== "") cursor = frame.id;
        if (frame.event === "connected") {
          if (frame.retry !== undefined) retry.startAt(frame.retry);
          continue;
        }
        if (frame.event === "reconnect") {
          told = frame.retry;
          break;
        }
        retry.progress();
        if (frame.event === "heartbeat") continue;
        if (frame.event === "gap") numbers.gap();
        if (!UNNUMBERED.has(frame.event) && !numbers.isNew(frame.id)) continue;
        const event = decode(frame, exec);
        yield event;
        if (ofOneExec && event.type === "complete") return;
      }
    } catch (error) {
      signal?.throwIfAborted();
      if (!mayHelp(error, true)) throw error;
      failure = error;
      told = retryAfter(error);
    } finally {
      clearTimeout(connecting);
      connection.abort();
    }
    await retry.wait(failure, told, signal);
  }
}
