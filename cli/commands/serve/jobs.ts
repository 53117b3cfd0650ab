/** Jobs one after the other, as many as may wait. */

/** Thrown where as many wait as may. */
export class BusyError extends Error {
  static {
    this.prototype.name = "BusyError";
  }
}

interface Waiting {
  readonly onAhead: (ahead: number) => void;
  readonly begin: () => void;
}

/** A queue, of which the first is at work. */
export class Jobs {
  /** Jobs that can wait beside the one at work. */
  readonly most: number;
  #taken = 0;
  #isWorking = false;
  readonly #waiting: Waiting[] = [];

  /** @param most Jobs that can wait. */
  constructor(most: number) {
    this.most = most;
  }

  /** Jobs that wait or are at work. */
  get length(): number {
    return this.#waiting.length + (this.#isWorking ? 1 : 0);
  }

  /** @throws {BusyError} where there is no place. */
  check(): void {
    if (this.#taken <= this.most) return;
    throw new BusyError(
      `as many requests as may wait are waiting (${this.most}); try again in a moment`,
    );
  }

  /**
   * Takes a place; it is held until it is released, which may be later than its work ends.
   *
   * @throws {BusyError} where there is none.
   */
  take(): Disposable {
    this.check();
    this.#taken++;
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (isHeld) this.#taken--;
        isHeld = false;
      },
    };
  }

  /**
   * Waits for its turn, and works.
   *
   * @param onAhead Told how many are before it, now and whenever that changes.
   * @throws What `signal` was aborted with, where that is before its turn.
   */
  async run<T>(
    signal: AbortSignal,
    onAhead: (ahead: number) => void,
    work: () => Promise<T>,
  ): Promise<T> {
    signal.throwIfAborted();
    if (this.#isWorking) await this.#turn(signal, onAhead);
    this.#isWorking = true;
    try {
      return await work();
    } finally {
      this.#isWorking = false;
      this.#waiting.shift()?.begin();
      this.#tell();
    }
  }

  #turn(signal: AbortSignal, onAhead: (ahead: number) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        const at = this.#waiting.indexOf(waiting);
        if (at < 0) return;
        this.#waiting.splice(at, 1);
        reject(signal.reason);
        this.#tell();
      };
      const begin = () => {
        signal.removeEventListener("abort", leave);
        this.#isWorking = true; // nobody else may begin before this one goes on
        resolve();
      };
      const waiting: Waiting = { onAhead, begin };
      signal.addEventListener("abort", leave, { once: true });
      this.#waiting.push(waiting);
      onAhead(this.#waiting.length);
    });
  }

  #tell(): void {
    this.#waiting.forEach(({ onAhead }, i) => onAhead(i + 1));
  }
}
