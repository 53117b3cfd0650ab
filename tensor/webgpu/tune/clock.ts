/** How long launches take a GPU whose clock is up. */
import type { WebGpuBackend } from "../backend.ts";
import { type Launch, launchAlone, timeInTurns } from "./turns.ts";
import { Warmer } from "./warmer.ts";

/** What variants are timed with; tests have one that needs no GPU. */
export interface TuneClock {
  /** Milliseconds of each, launched in turns so that what disturbs one disturbs all. */
  time(launches: readonly Launch[]): Promise<number[]>;
  /** Seconds since any moment. */
  seconds(): number;
}

/** Milliseconds of work that figures come from, and that come before it. */
const MEASURED = 40;
const WARM = 20;
const MOST_ROUNDS = 32;
/** Measurements in the middle of which the GPU lowered its clock are made again, so often. */
const TRIES = 2;

/** By the GPU's own timestamps where it has them; else by the time from submit to end. */
export class GpuClock implements TuneClock, Disposable {
  /** Null for a program that acts as a GPU: it has no clock to lower. */
  readonly #warmer: Warmer | null;

  constructor(readonly backend: WebGpuBackend) {
    this.#warmer = backend.isSoftware ? null : new Warmer(backend);
  }

  seconds(): number {
    return performance.now() / 1000;
  }

  async time(launches: readonly Launch[]): Promise<number[]> {
    // It compiles what was not, and shows how fast the GPU is: until then launches are cut.
    const first = sum(await timeInTurns(this.backend, launches, 1));
    const roundsIn = (milliseconds: number): number =>
      Math.max(1, Math.min(MOST_ROUNDS, Math.round(milliseconds / Math.max(first, 1e-3))));
    for (let tries = 1;; tries++) {
      await this.#warmer?.warm();
      for (let i = roundsIn(WARM); i > 0; i--) {
        launches.forEach((launch) => launchAlone(this.backend, launch, "tune"));
      }
      const times = await timeInTurns(this.backend, launches, Math.max(3, roundsIn(MEASURED)));
      if (tries === TRIES || this.#warmer === null || await this.#warmer.isWarm()) return times;
    }
  }

  [Symbol.dispose](): void {
    this.#warmer?.[Symbol.dispose]();
  }
}

function sum(times: readonly number[]): number {
  return times.reduce((a, b) => a + b, 0);
}
