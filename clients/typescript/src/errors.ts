import type { Problem } from "./types.js";

/** Everything that this package throws, but for what an `AbortSignal` says. */
export class RdevError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** There was no answer: nothing listens, the connection broke, or it took too long. */
export class TransportError extends RdevError {}

/** The server says that it cannot be done, and why (RFC 9457). */
export class ProblemError extends RdevError {
  constructor(
    readonly problem: Problem,
    /** From `Retry-After`: how long to wait before trying again can help. */
    readonly retryAfterMs?: number,
  ) {
    super(`${problem.status} ${problem.code}: ${problem.detail}`);
  }

  /** The HTTP status. */
  get status(): number {
    return this.problem.status;
  }

  /** What is wrong, for programs; stable. */
  get code(): string {
    return this.problem.code;
  }
}

/** 400, 413, 415 and the like: the request cannot be carried out as it is. */
export class InvalidRequestError extends ProblemError {}
/** 401: no key, or one that is not good any more. */
export class UnauthorizedError extends ProblemError {}
/** 403: the key does not allow it. */
export class ForbiddenError extends ProblemError {}
/** 404: it is not there, or in a project that the key does not allow. */
export class NotFoundError extends ProblemError {}
/** 409: it contradicts what exists, such as an exec with this id and another command. */
export class ConflictError extends ProblemError {}
/** 410: retention has removed it. `problem.resume_from` goes on with what is left. */
export class ExpiredError extends ProblemError {}
/** 429: too much at once. It was tried again until patience ended. */
export class TooManyError extends ProblemError {}
/** 5xx: it cannot be done now. It was tried again, if it could be, until patience ended. */
export class UnavailableError extends ProblemError {}

/** The events are not all that the command printed: some have expired. */
export class IncompleteError extends RdevError {}

export function problemError(problem: Problem, retryAfterMs?: number): ProblemError {
  const { status } = problem;
  const kinds: Record<number, typeof ProblemError> = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: ExpiredError,
    429: TooManyError,
  };
  const otherwise = status >= 500 ? UnavailableError : InvalidRequestError;
  return new (kinds[status] ?? otherwise)(problem, retryAfterMs);
}
