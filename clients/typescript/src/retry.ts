const MAX_DELAY_MS = 10_000;

/**
 * When to try again: after what the server said, and otherwise after a delay that doubles, at random
 * between half of it and all of it, so that many clients do not come back at once. After `patienceMs`
 * without progress it gives up.
 */
export class Retry {
  #failures = 0;
  #since: number | undefined;

  constructor(
    private readonly patienceMs: number,
    private baseMs = 200,
  ) {}

  /** It works: the next failure is the first one again. */
  progress(): void {
    this.#failures = 0;
    this.#since = undefined;
  }

  /** The server has said how long to wait when the connection breaks. */
  startAt(baseMs: number): void {
    this.baseMs = baseMs;
  }

  /** Waits, or throws `failure` if that would take too long. */
  async wait(failure: unknown, toldMs: number | undefined, signal?: AbortSignal): Promise<void> {
    const now = Date.now();
    this.#since ??= now;
    const ceiling = Math.min(this.baseMs * 2 ** this.#failures, MAX_DELAY_MS);
    this.#failures += 1;
    const delay = Math.max(toldMs ?? 0, ceiling * (0.5 + Math.random() / 2));
    if (now + delay - this.#since > this.patienceMs) throw failure;
    await sleep(delay, signal);
  }
}

export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const aborted = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", aborted);
      resolve();
    }, ms);
    signal?.addEventListener("abort", aborted, { once: true });
  });
}
