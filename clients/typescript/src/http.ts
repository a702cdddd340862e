import { ProblemError, TransportError, problemError } from "./errors.js";
import { Retry } from "./retry.js";
import type { Problem } from "./types.js";

/** Where the API is, and how patient to be. */
export interface Options {
  /** Such as `http://127.0.0.1:8080`. */
  url: string;
  /** The project that all of it is about. */
  project: string;
  /** An API key, or what gives one (or the token of an issuer) for each request. */
  key?: string | (() => string | Promise<string>);
  /** How long to go on trying without any progress. 120,000 where it is not said. */
  patienceMs?: number;
  /** An event stream that is silent for longer is taken for broken. 45,000: three heartbeats. */
  silenceMs?: number;
  /** In the place of the global one. */
  fetch?: typeof fetch;
}

/** A request. */
export interface Call {
  method: "GET" | "POST" | "DELETE";
  /** Below the project, with the query. */
  path: string;
  json?: unknown;
  bytes?: Uint8Array;
  headers?: Record<string, string>;
  /** Sending it twice does the same as once, so it is sent again when nobody knows what became of it. */
  repeatable: boolean;
  signal?: AbortSignal | undefined;
}

/** Parameters of a query; those that are undefined are left out. */
export type Query = Record<string, string | number | boolean | undefined>;

export function query(parameters: Query): string {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined);
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text === "" ? "" : `?${text}`;
}

/** Longer than any answer takes, that to `?wait=` included. */
const ANSWER_TIMEOUT_MS = 90_000;

/** Sends requests, and sends them again where that can help. */
export class Http {
  readonly patienceMs: number;
  readonly silenceMs: number;
  readonly #fetch: typeof fetch;

  constructor(readonly options: Options) {
    this.patienceMs = options.patienceMs ?? 120_000;
    this.silenceMs = options.silenceMs ?? 45_000;
    this.#fetch = options.fetch ?? ((...arguments_) => fetch(...arguments_));
  }

  /** The answer, if it is one of 2xx. Tries again until patience ends. */
  async send(call: Call): Promise<Response> {
    const retry = new Retry(this.patienceMs);
    for (;;) {
      try {
        return await this.once(call, AbortSignal.timeout(ANSWER_TIMEOUT_MS));
      } catch (error) {
        if (!mayHelp(error, call.repeatable)) throw error;
        await retry.wait(error, retryAfter(error), call.signal);
      }
    }
  }

  async json<Answer>(call: Call): Promise<Answer> {
    return (await this.send(call)).json() as Promise<Answer>;
  }

  /** One try. `limit` ends it too, while it waits and while its body is read. */
  async once(call: Call, limit: AbortSignal): Promise<Response> {
    const { url, project, key } = this.options;
    const headers = new Headers(call.headers);
    const secret = typeof key === "function" ? await key() : key;
    if (secret) headers.set("authorization", `Bearer ${secret}`);
    const init: RequestInit = { method: call.method, headers };
    if (call.json !== undefined) {
      headers.set("content-type", "application/json");
      init.body = JSON.stringify(call.json);
    } else if (call.bytes !== undefined) {
      headers.set("content-type", "application/octet-stream");
      init.body = call.bytes as BodyInit;
    }
    init.signal = call.signal === undefined ? limit : AbortSignal.any([call.signal, limit]);
    const address = `${url.replace(/\/+$/, "")}/projects/${encodeURIComponent(project)}${call.path}`;
    let response;
    try {
      response = await this.#fetch(address, init);
    } catch (error) {
      call.signal?.throwIfAborted();
      throw new TransportError(`${call.method} ${address}: ${String(error)}`, { cause: error });
    }
    if (response.ok) return response;
    throw problemError(await problemOf(response), retryAfterOf(response));
  }
}

/** Whether the same request may be answered otherwise later, and may be sent again. */
export function mayHelp(error: unknown, repeatable: boolean): boolean {
  if (error instanceof TransportError) return repeatable;
  if (!(error instanceof ProblemError)) return false;
  // Of the gateway's own answers those that can help say when; a proxy says nothing.
  if (error.status === 429) return true;
  if (error.status === 503 && error.problem.outcome_unknown === false) return true;
  return repeatable && [408, 502, 503, 504].includes(error.status);
}

export function retryAfter(error: unknown): number | undefined {
  return error instanceof ProblemError ? error.retryAfterMs : undefined;
}

function retryAfterOf(response: Response): number | undefined {
  const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
  return Number.isFinite(seconds) ? seconds * 1000 : undefined;
}

async function problemOf(response: Response): Promise<Problem> {
  const text = await response.text().catch(() => "");
  try {
    const problem = JSON.parse(text) as Problem;
    if (typeof problem.code === "string") return problem;
  } catch {
    // Not the gateway's: a proxy stands in between.
  }
  const { status, statusText } = response;
  const detail = text.slice(0, 200) || statusText;
  return { type: "about:blank", title: statusText, status, code: `http_${status}`, detail };
}
