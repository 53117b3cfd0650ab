/** What pictures looked like after each step that was shown, to go back to once they are finished. */
import type { Picture } from "../../protocol.ts";

/** A moment of a drawing. */
export interface Moment {
  readonly step: number;
  readonly pictures: readonly Picture[];
}

/** Moments in the memory that there is for them: every second one goes when it is full. */
export class History {
  readonly #mostBytes: number;
  #moments: Moment[] = [];
  #bytes = 0;

  /** @param mostBytes Of pixels. */
  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes;
  }

  /** From the first to the last. */
  get moments(): readonly Moment[] {
    return this.#moments;
  }

  /** Adds a moment, unless its pictures are those of the last one. */
  add(moment: Moment): void {
    const last = this.#moments.at(-1);
    if (moment.pictures.length === 0 || last?.pictures === moment.pictures) return;
    if (last?.step === moment.step) this.#bytes -= bytesOf(this.#moments.pop()!);
    this.#moments.push(moment);
    this.#bytes += bytesOf(moment);
    while (this.#bytes > this.#mostBytes && this.#moments.length > 2) {
      const { length } = this.#moments;
      this.#moments = this.#moments.filter((_, i) => i % 2 === 0 || i === length - 1);
      this.#bytes = this.#moments.reduce((sum, moment) => sum + bytesOf(moment), 0);
      if (this.#moments.length === length) break;
    }
  }
}

function bytesOf({ pictures }: Moment): number {
  return pictures.reduce((sum, { rgba }) => sum + rgba.byteLength, 0);
}
