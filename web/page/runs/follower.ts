/** Reads what a run has measured, and what is added to it. */
import type { RunMetrics, Runs } from "../../runs.ts";

/** Most lines that are held of a run; every second one goes when there are more. */
const MOST_LINES = 20_000;

/** A run's lines so far. */
export class Follower {
  readonly #runs: Runs;
  readonly #id: string;
  #lines: RunMetrics[] = [];
  #next: string | undefined;
  /** The reading that was asked for last, and those before it. */
  #reading: Promise<unknown> = Promise.resolve();

  /** Of a run by its id. */
  constructor(runs: Runs, id: string) {
    [this.#runs, this.#id] = [runs, id];
  }

  /** In the order of steps. */
  get lines(): readonly RunMetrics[] {
    return this.#lines;
  }

  /** Reads on, to the end of what there is; whether there was something. */
  read(signal: AbortSignal): Promise<boolean> {
    // one after the other: two at once would read the same part, and have its lines twice
    const reading = this.#reading.then(() => this.#read(signal));
    this.#reading = reading.catch(() => {});
    return reading;
  }

  async #read(signal: AbortSignal): Promise<boolean> {
    let isChanged = false;
    for (let hasMore = true; hasMore;) {
      const part = await this.#runs.metrics(this.#id, this.#next, signal);
      if (part.isFromStart) this.#lines = [];
      this.#lines.push(...part.lines);
      if (this.#lines.length > MOST_LINES) {
        const { length } = this.#lines;
        this.#lines = this.#lines.filter((_, i) => i % 2 === 0 || i === length - 1);
      }
      isChanged ||= part.lines.length > 0 || (part.isFromStart && this.#next !== undefined);
      [this.#next, hasMore] = [part.next, part.hasMore];
    }
    return isChanged;
  }
}
