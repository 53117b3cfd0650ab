/** Requests that are refused. */

/** A request that is refused; the message is for whoever sent it. */
export class HttpError extends Error {
  static {
    this.prototype.name = "HttpError";
  }

  /** The status of the answer. */
  readonly status: number;
  /** Further headers of the answer. */
  readonly headers: Readonly<Record<string, string>>;

  /** A refusal. */
  constructor(status: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    [this.status, this.headers] = [status, headers];
  }
}
