/** How long launches take a GPU. */
import type { WebGpuBackend } from "../backend.ts";

/** Launches something, under the name of `op`. */
export type Launch = (op: string) => void;

/** What variants are timed with; tests have one that needs no GPU. */
export interface TuneClock {
  /** Milliseconds of each, launched in turns so that what disturbs one disturbs all. */
  time(launches: readonly Launch[]): Promise<number[]>;
  /** Seconds since any moment. */
  seconds(): number;
}

/** Milliseconds of work that figures come from, and that come before it: a GPU at rest is slow. */
const MEASURED = 40;
const WARM = 20;
const MOST_ROUNDS = 32;

/** By the GPU's own timestamps where it has them; else by the time from submit to end. */
export class GpuClock implements TuneClock {
  constructor(readonly backend: WebGpuBackend) {}

  seconds(): number {
    return performance.now() / 1000;
  }

  async time(launches: readonly Launch[]): Promise<number[]> {
    const first = sum(await this.#rounds(launches, 1));
    const roundsIn = (milliseconds: number): number =>
      Math.max(1, Math.min(MOST_ROUNDS, Math.round(milliseconds / Math.max(first, 1e-3))));
    for (let i = roundsIn(WARM); i > 0; i--) launches.forEach((launch) => launch("tune"));
    return await this.#rounds(launches, Math.max(3, roundsIn(MEASURED)));
  }

  /** The mean of so many rounds, in which each has a turn. */
  async #rounds(launches: readonly Launch[], count: number): Promise<number[]> {
    const { runtime } = this.backend;
    return runtime.device.features.has("timestamp-query")
      ? await this.#byTimestamps(launches, count)
      : await this.#bySubmits(launches, count);
  }

  async #byTimestamps(launches: readonly Launch[], count: number): Promise<number[]> {
    const times = launches.map(() => 0);
    const profile = await this.backend.runtime.profile(() => {
      for (let round = 0; round < count; round++) {
        launches.forEach((launch, i) => launch(`tune ${i}`));
      }
    });
    for (const { op, milliseconds } of profile) {
      times[Number(op.slice("tune ".length))]! += milliseconds / count;
    }
    return times;
  }

  /** The fastest of some turns, each of several launches: the host's part is shared by them. */
  async #bySubmits(launches: readonly Launch[], count: number): Promise<number[]> {
    const times = launches.map(() => Infinity);
    for (let turn = 0; turn < 3; turn++) {
      for (const [i, launch] of launches.entries()) {
        await this.backend.sync();
        const start = performance.now();
        for (let round = 0; round < count; round++) launch("tune");
        await this.backend.sync();
        times[i] = Math.min(times[i]!, (performance.now() - start) / count);
      }
    }
    return times;
  }
}

function sum(times: readonly number[]): number {
  return times.reduce((a, b) => a + b, 0);
}
