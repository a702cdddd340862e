// Follows the events of one exec. What there is already is read as lines, which takes a tenth of the time;
// the browser's own EventSource goes on from there. A ticket opens it, and the id of the last event goes
// on with it, whatever gateway answers and however often one is restarted.
//
// Every event is handed on once and in order: they are numbered, and what was seen is left out.

import { paths, post, send } from "./api.js";

const EVENTS = [
  "connected", "output", "error", "claude_event", "codex_event", "approval", "approval_answered",
  "resized", "complete", "gap", "queued", "caught_up", "heartbeat", "reconnect",
]; // prettier-ignore
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 8_000;
/** Heartbeats come every 15 s: without any news for so long the connection is dead. */
const SILENCE_MAX_MS = 45_000;
const TICKET_MAX_MS = 15_000;

export class Follower {
  #source = null;
  #lastId = "";
  #lastNumber = 0;
  #retryMs = FIRST_RETRY_MS;
  #timer = 0;
  #silence = 0;
  #isOver = false;
  #isLoaded;

  /**
   * `onEvent(name, data, number, chars)` for each event, with the length of what it came as;
   * `onState(state, reason)` with `loading`, `live`, `reconnecting`, `draining`, `ended` or `failed`.
   * `tail` begins with the last so many events.
   */
  constructor({ project, session, stream, tail, onEvent, onState }) {
    Object.assign(this, { project, session, stream, tail, onEvent, onState });
    this.#isLoaded = tail !== undefined;
    this.#say("loading");
    this.#open();
  }

  close() {
    this.#isOver = true;
    this.#drop();
    clearTimeout(this.#timer);
  }

  #say(state, reason = "") {
    this.state = state;
    this.onState?.(state, reason);
  }

  #drop() {
    clearTimeout(this.#silence);
    this.#source?.close();
    this.#source = null;
  }

  async #open() {
    let ticket;
    try {
      if (!this.#isLoaded) await this.#load();
      if (this.#isOver) return;
      const path = `${paths.session(this.project, this.session)}/tickets`;
      ticket = await post(path, { stream_id: this.stream }, AbortSignal.timeout(TICKET_MAX_MS));
    } catch (problem) {
      if (this.#isOver) return;
      const isHopeless = [400, 401, 403, 404, 410].includes(problem.status);
      if (isHopeless) this.#say("failed", problem.message);
      else this.#again(problem.message);
      return;
    }
    if (this.#isOver) return;
    const address = new URL(ticket.url, location.origin);
    address.searchParams.set("stderr", "output");
    address.searchParams.set("times", "true");
    if (this.#lastId) address.searchParams.set("last_event_id", this.#lastId);
    else if (this.tail !== undefined) address.searchParams.set("tail", this.tail);
    this.#source = new EventSource(address);
    for (const name of EVENTS) this.#source.addEventListener(name, (event) => this.#take(event));
    this.#listen();
  }

  /** Takes what there is up to now. */
  async #load() {
    const query = { stderr: "output", times: "true", last_event_id: this.#lastId };
    const headers = { accept: "application/x-ndjson" };
    const patience = new AbortController();
    const wait = () => {
      clearTimeout(this.#silence);
      this.#silence = setTimeout(() => patience.abort(), SILENCE_MAX_MS);
    };
    wait();
    const path = `${paths.exec(this.project, this.session, this.stream)}/events`;
    const response = await send("GET", path, { query, headers, signal: patience.signal });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (let part = await reader?.read(); part && !part.done && !this.#isOver; part = await reader.read()) {
      wait();
      const lines = (rest + part.value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const { id, event, data } = JSON.parse(line);
        if (event !== "reconnect" && !this.#isOver) this.#event(id, event, data, line.length);
      }
    }
    clearTimeout(this.#silence);
    if (this.#isOver) reader?.cancel();
    this.#isLoaded = true;
  }

  /** Comes again with another ticket, after a while. */
  #again(reason) {
    this.#drop();
    if (this.#isOver) return;
    if (this.state !== "draining") this.#say("reconnecting", reason);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#open(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS);
  }

  #listen() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#again("nothing was heard for a while"), SILENCE_MAX_MS);
  }

  #take(event) {
    // `error` is also what a browser calls a connection that broke.
    if (!(event instanceof MessageEvent)) return this.#broke();
    this.#listen();
    this.#event(event.lastEventId, event.type, JSON.parse(event.data), event.data.length);
  }

  #event(id, name, data, chars) {
    switch (name) {
      case "connected":
        this.#retryMs = FIRST_RETRY_MS;
        this.#say("live");
        return this.onEvent("connected", data, 0);
      case "reconnect":
        return this.#say("draining", data.reason);
      case "heartbeat":
        return;
      case "queued":
      case "caught_up":
        return this.onEvent(name, data, 0);
    }
    const number = Number(id.split("-")[1]);
    // A gap carries the number of the last event that is missing.
    if (number <= this.#lastNumber && name !== "gap") return;
    this.#lastNumber = Math.max(number, this.#lastNumber);
    this.#lastId = id;
    this.onEvent(name, data, number, chars);
    if (name !== "complete") return;
    this.close();
    this.#say("ended");
  }

  #broke() {
    if (this.#isOver || !this.#source) return;
    if (this.#source.readyState === EventSource.CLOSED) return this.#again("the connection was refused");
    if (this.state !== "draining") this.#say("reconnecting", "the connection broke");
  }
}

/** How a state is shown: a text, and the kind of its pill. */
export function described(state, reason) {
  const reasons = {
    draining: "gateway draining, moving on…",
    overloaded: "gateway is full, moving on…",
    log_unavailable: "the log is away, waiting…",
    lifetime: "reconnecting…",
    not_started: "waiting for it to start…",
  };
  switch (state) {
    case "loading": return ["loading…", "busy"];
    case "live": return ["live", "good"];
    case "reconnecting": return ["reconnecting…", "warn"];
    case "draining": return [reasons[reason] ?? "gateway draining…", "warn"];
    case "ended": return ["complete", ""];
    default: return ["not connected", "bad"];
  }
}
