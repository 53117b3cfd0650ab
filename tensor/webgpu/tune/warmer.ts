/** Work without a purpose, before what is timed. */
import type { WebGpuBackend } from "../backend.ts";
import { BusyProducts } from "./busy.ts";
import { timeInTurns } from "./turns.ts";

/** Workgroups of a launch for each core, and steps of k: about a millisecond of a large card. */
const GROUPS_OF_CORE = 8;
const DEPTH = 2048;

/** For how long it works until its first measurement counts, and at most at a time. */
const FIRST_SECONDS = 2;
const MOST_SECONDS = 3;
/** Milliseconds of work that show how high the clock is. */
const PROBE = 25;
/**
 * What measurements at one clock may differ by: where the GPU keeps time, and where the host does,
 * whose waits are part of them. Clocks that are down are so by a factor.
 */
const MARGIN = { gpu: 1.1, host: 1.4 } as const;

/** What a warmer measures with; tests have one that needs no GPU. */
export interface Probe {
  /** Milliseconds of a launch of known work, by so many of them. */
  time(launches: number): Promise<number>;
  /** What two times at one clock may differ by, as a factor. */
  readonly margin: number;
  /** Seconds since any moment. */
  seconds(): number;
}

/**
 * Keeps a GPU's clock up, and knows whether it is. A GPU that waits, for a shader to be compiled say,
 * lowers it within seconds, and takes a second of work to raise it again: on an H200 from 1980 MHz
 * to 345, so that what is timed takes five times as long.
 */
export class Warmer implements Disposable {
  readonly #probe: Probe;
  readonly #busy: BusyProducts | null = null;
  /** Milliseconds of a launch: at the highest clock that was seen, and when it was seen last. */
  #least = Infinity;
  #last = 1;

  /** Of a GPU, or by a probe. */
  constructor(of: WebGpuBackend | Probe) {
    if ("time" in of) {
      this.#probe = of;
      return;
    }
    const { traits, device } = of.runtime;
    const groups = traits.cores * GROUPS_OF_CORE;
    const busy = this.#busy = new BusyProducts(of, groups, DEPTH);
    const launch = busy.product(groups, DEPTH);
    this.#probe = {
      time: async (launches) => (await timeInTurns(of, [launch], launches))[0]!,
      margin: device.features.has("timestamp-query") ? MARGIN.gpu : MARGIN.host,
      seconds: () => performance.now() / 1000,
    };
  }

  /** Works until the clock is up, as far as it has been seen to be. */
  async warm(): Promise<void> {
    const isFirst = this.#least === Infinity;
    const start = this.#probe.seconds();
    const passed = () => this.#probe.seconds() - start;
    while (!await this.isWarm() || (isFirst && passed() < FIRST_SECONDS)) {
      if (passed() < MOST_SECONDS) continue;
      this.#least = this.#last; // a GPU that has become too hot does not get there again
      return;
    }
  }

  /** Works for some milliseconds; says whether the clock was up. */
  async isWarm(): Promise<boolean> {
    const launches = Math.max(1, Math.min(200, Math.round(PROBE / Math.max(this.#last, 1e-2))));
    this.#last = await this.#probe.time(launches);
    this.#least = Math.min(this.#least, this.#last);
    return this.#last <= this.#probe.margin * this.#least;
  }

  [Symbol.dispose](): void {
    this.#busy?.[Symbol.dispose]();
  }
}
