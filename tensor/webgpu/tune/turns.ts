/** How long launches take a GPU, one after the other. */
import type { WebGpuBackend } from "../backend.ts";

/** Launches something, under the name of `op`. */
export type Launch = (op: string) => void;

/** Milliseconds of each launch: the mean of so many rounds, in which each has a turn. */
export async function timeInTurns(
  backend: WebGpuBackend,
  launches: readonly Launch[],
  rounds: number,
): Promise<number[]> {
  return backend.runtime.device.features.has("timestamp-query")
    ? await byTimestamps(backend, launches, rounds)
    : await bySubmits(backend, launches, rounds);
}

/** Launches something that shares no launch with what follows, under whose name both would be. */
export function launchAlone({ runtime }: WebGpuBackend, launch: Launch, op: string): void {
  launch(op);
  runtime.settle();
}

async function byTimestamps(
  backend: WebGpuBackend,
  launches: readonly Launch[],
  rounds: number,
): Promise<number[]> {
  const times = launches.map(() => 0);
  const profile = await backend.runtime.profile(() => {
    for (let round = 0; round < rounds; round++) {
      launches.forEach((launch, i) => launchAlone(backend, launch, `tune ${i}`));
    }
  });
  for (const { op, milliseconds } of profile) {
    times[Number(op.slice("tune ".length))]! += milliseconds / rounds;
  }
  return times;
}

/** The fastest of some turns, each of several launches: the host's part is shared by them. */
async function bySubmits(
  backend: WebGpuBackend,
  launches: readonly Launch[],
  rounds: number,
): Promise<number[]> {
  const times = launches.map(() => Infinity);
  for (let turn = 0; turn < 3; turn++) {
    for (const [i, launch] of launches.entries()) {
      await backend.sync();
      const start = performance.now();
      for (let round = 0; round < rounds; round++) launchAlone(backend, launch, "tune");
      await backend.sync();
      times[i] = Math.min(times[i]!, (performance.now() - start) / rounds);
    }
  }
  return times;
}
