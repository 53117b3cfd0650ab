/** Work without a purpose, before what is timed. */
import type { WebGpuBackend } from "../backend.ts";
import { BusyProducts } from "./busy.ts";
import { type Launch, timeInTurns } from "./turns.ts";

/** Workgroups of a launch for each core, and steps of k: about half a millisecond. */
const GROUPS_OF_CORE = 8;
const DEPTH = 2048;

/** How long the clock may take to rise: at first, and where it was up before. */
const FIRST_SECONDS = 2;
const MOST_SECONDS = 3;
/** Milliseconds of work that show how high the clock is. */
const PROBE = 25;
/** What two measurements at one clock may differ by. */
const MARGIN = 1.04;

/**
 * Keeps a GPU's clock up, and knows whether it is. A GPU that waits, for a shader to be compiled say,
 * lowers it within seconds, and takes a second of work to raise it again: on an H200 from 1980 MHz
 * to 345, so that what is timed takes five times as long.
 */
export class Warmer implements Disposable {
  readonly #busy: BusyProducts;
  readonly #launch: Launch;
  /** Milliseconds of a launch: at the highest clock that was seen, and when it was seen last. */
  #least = Infinity;
  #last = 0.5;

  constructor(readonly backend: WebGpuBackend) {
    const groups = backend.runtime.traits.cores * GROUPS_OF_CORE;
    this.#busy = new BusyProducts(backend, groups, DEPTH);
    this.#launch = this.#busy.product(groups, DEPTH);
  }

  /** Works until the clock is up, as far as it has been seen to be. */
  async warm(): Promise<void> {
    const isFirst = this.#least === Infinity;
    const start = performance.now();
    const passed = () => (performance.now() - start) / 1000;
    while (!await this.isWarm() || (isFirst && passed() < FIRST_SECONDS)) {
      if (passed() > MOST_SECONDS) { // a GPU that has become too hot does not get there again
        this.#least = this.#last;
        return;
      }
    }
  }

  /** Works for some milliseconds; says whether the clock was up. */
  async isWarm(): Promise<boolean> {
    const rounds = Math.max(1, Math.min(200, Math.round(PROBE / Math.max(this.#last, 1e-2))));
    const [milliseconds] = await timeInTurns(this.backend, [this.#launch], rounds);
    this.#last = milliseconds!;
    this.#least = Math.min(this.#least, this.#last);
    return this.#last <= MARGIN * this.#least;
  }

  [Symbol.dispose](): void {
    this.#busy[Symbol.dispose]();
  }
}
