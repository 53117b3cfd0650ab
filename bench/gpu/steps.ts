/** Training steps on a GPU: how long, how long for the host, and where the GPU's time goes. */
import { type Device, memory, resetPeak } from "@dit/core";
import type { WebGpuBackend } from "../../tensor/webgpu/backend.ts";
import type { ProfileRow } from "../../tensor/webgpu/device/profiler.ts";
import { familyOf } from "../census.ts";
import type { Report, Row } from "../measure.ts";
import { type Bench, keepsTime, median, sum } from "./clock.ts";
import { batchFor, type Job, titleOf, traineeOf } from "./jobs.ts";
import type { Warmer } from "../../tensor/webgpu/tune/warmer.ts";

const TINY = {
  "hidden-size": 32,
  "depth": 1,
  "num-heads": 2,
  "image-size": 16,
} as const;

/** The runs whose steps are timed, the quickest first. */
export function jobs(tiny: boolean): readonly Job[] {
  const [f32, fp16] = [
    { precision: "f32", checkpointing: false },
    { precision: "fp16", checkpointing: true },
  ] as const;
  if (tiny) {
    const job = { model: "DiT-Mini/8", batch: 2, flags: TINY };
    return [{ ...job, ...f32 }, { ...job, ...fp16 }];
  }
  return [
    { model: "DiT-Mini/4", batch: 64, ...f32 },
    { model: "DiT-S/2", batch: 32, ...f32 },
    { model: "DiT-S/2", batch: 32, precision: "fp16", checkpointing: false },
    { model: "DiT-B/2", batch: 32, ...f32 },
    { model: "DiT-XL/2", batch: 32, ...fp16 },
  ];
}

/** For how long steps of each run are timed. */
const SECONDS = 3;

/**
 * Takes steps of every run, while there is time.
 *
 * @throws {Error} where a run failed, after the others.
 */
export async function trainingSteps(
  report: Report,
  device: Device,
  { tiny, left, warmer }: Bench,
): Promise<void> {
  const rows: Row[] = [];
  const failures: string[] = [];
  for (const job of jobs(tiny)) {
    const title = titleOf(job);
    if (left() < 4 * SECONDS) {
      rows.push({ run: title, note: "no time left" });
    } else {
      try {
        const { row, profile } = await timed(device, job, tiny ? 0 : SECONDS, warmer);
        rows.push({ run: title, ...row });
        if (profile !== null) report.add(`GPU time of a step of ${title}`, families(profile));
      } catch (error) {
        // Memory that does not suffice for one model does for a smaller one.
        failures.push(`${title}: ${error}`);
        rows.push({ run: title, note: String(error).slice(0, 300) });
      }
    }
    report.add("training steps", rows);
  }
  if (failures.length > 0) throw new Error(failures.join("\n"));
}

async function timed(
  device: Device,
  job: Job,
  seconds: number,
  warmer: Warmer | null,
): Promise<{ row: Row; profile: ProfileRow[] | null }> {
  const backend = device.backend as WebGpuBackend;
  const { runtime } = backend;
  using trainee = traineeOf(job);
  const batch = batchFor(trainee, job.batch);
  const step = async () => {
    await trainee.takeStep(batch);
    backend.flush();
  };
  const wait = async (run: () => Promise<void>): Promise<number> => {
    const start = performance.now();
    await run();
    await backend.sync();
    return performance.now() - start;
  };
  const first = await wait(step);
  await warmer?.warm();
  resetPeak(device);
  await wait(step);
  const before = runtime.stats;
  const alone = await wait(step);
  const after = runtime.stats;
  const { peakBytes, reservedBytes } = memory(device);
  const steps = Math.max(2, Math.min(200, Math.round(seconds * 1000 / alone)));
  const host: number[] = [];
  const start = performance.now();
  for (let i = 0; i < steps; i++) {
    const begun = performance.now();
    await step();
    host.push(performance.now() - begun);
    await backend.ready();
  }
  await backend.sync();
  const milliseconds = (performance.now() - start) / steps;
  await warmer?.warm();
  const profile = keepsTime(backend) ? await runtime.profile(step) : null;
  const losses = (await trainee.records.take()).map(({ loss }) => loss);
  return {
    profile,
    row: {
      "ms a step": milliseconds,
      "images/s": job.batch / milliseconds * 1000,
      "GPU, ms": profile === null ? "no timestamps" : sum(profile),
      "host, ms": median(host),
      "first step, ms": first,
      "steps": steps,
      "dispatches": after.dispatches - before.dispatches,
      "submits": after.submits - before.submits,
      "new bind groups": after.bindGroups - before.bindGroups,
      "peak of tensors, GB": peakBytes / 1e9,
      "reserved, GB": reservedBytes / 1e9,
      "first losses": losses.slice(0, 3).map((loss) => loss.toPrecision(9)).join(" "),
    },
  };
}

/** GPU time by op and kernel, whatever the variant; the longest first. */
function families(profile: readonly ProfileRow[]): Row[] {
  const rows = new Map<string, { launches: number; milliseconds: number; longest: string }>();
  for (const { op, kernel, launches, milliseconds } of profile) { // the longest first
    const name = `${op} ${familyOf(kernel)}`;
    const row = rows.get(name) ?? { launches: 0, milliseconds: 0, longest: kernel };
    row.launches += launches;
    row.milliseconds += milliseconds;
    rows.set(name, row);
  }
  const all = sum(profile);
  return [...rows].sort(([, a], [, b]) => b.milliseconds - a.milliseconds).map((
    [name, { launches, milliseconds, longest }],
  ) => ({
    kernel: name,
    launches,
    "ms": milliseconds,
    "%": 100 * milliseconds / all,
    "variant that takes longest": longest.slice(0, 80),
  }));
}
