/** Making the samples that are missing, each rank its share. */
import type { SampleSettings } from "@dit/core/pipeline";
import { toPixels } from "@dit/data";
import { Stopped, workTogether } from "../../distributed/together.ts";
import type { World } from "../../distributed/world.ts";
import { loadImageSampler, modelLine } from "../../model/sampling_setup.ts";
import type { Weights } from "../../model/weights.ts";
import type { StopRequests } from "../../run/stop.ts";
import { CommandError } from "../../shared/errors.ts";
import { duration, ProgressLine } from "../../shared/progress.ts";
import type { Images } from "../../shared/sample_archive.ts";
import type { SampleStore } from "./store.ts";
import { planUnits, type Unit } from "./work.ts";

/** What is made, and how. */
export interface SamplingJob {
  readonly weights: Weights;
  readonly vaePath: string | null;
  readonly settings: SampleSettings;
  readonly dtype: "f32" | "f16";
  /** Samples that are always computed together; null where no bit depends on that. */
  readonly group: number | null;
  /** Samples at a time, of each rank. */
  readonly batch: number;
  /** The class of a sample. */
  readonly label: (number: number) => number;
  /** Which samples are there, the same on all ranks. */
  readonly isThere: readonly boolean[];
  readonly store: SampleStore;
}

/**
 * Makes what is missing, and shows how far all ranks are; returns whether it came to the end, and was
 * not stopped. Samples that were not finished then are made again the next time. Collective.
 *
 * @throws {CommandError} where samples are not finite, or cannot be written.
 */
export async function sampleMissing(
  world: World,
  job: SamplingJob,
  stop?: Pick<StopRequests, "requested">,
): Promise<boolean> {
  const { isThere, batch, group } = job;
  const units = planUnits(isThere, { batch, group, ranks: world.size });
  if (units.length === 0) return true;
  const missing = units.reduce((sum, unit) => sum + unit.missing.length, 0);
  const found = isThere.length - missing;
  const share = units.filter((_, u) => u % world.size === world.rank);
  using line = new ProgressLine("         ");
  let done = 0;
  const begun = performance.now();
  const work = (isStopped: () => boolean) =>
    makeShare(world, job, share, (now) => {
      done = now;
      if (isStopped()) throw new Stopped();
    });
  const isWhole = await workTogether(world, work, {
    ...(stop ? { stop } : {}),
    done: () => done,
    onTotal: (total) => {
      if (world.rank > 0 || total === 0) return; // models are being loaded
      const detail = rateText(total, (performance.now() - begun) / 1000);
      line.show(found + total, isThere.length, detail, (images) => String(Math.floor(images)));
    },
  });
  line.end();
  if (world.rank > 0 || !isWhole) return isWhole;
  const taken = (performance.now() - begun) / 1000;
  console.log(`sampled  ${missing} in ${duration(taken)}, ${rateText(missing, taken)}`);
  return true;
}

/** Such as `12.5 images/s`. */
function rateText(images: number, seconds: number): string {
  const rate = images / Math.max(seconds, 1e-3);
  return `${rate < 100 ? rate.toPrecision(2) : Math.round(rate)} images/s`;
}

/** Makes this rank's share. */
async function makeShare(
  world: World,
  { weights, vaePath, settings, dtype, label, store }: SamplingJob,
  share: readonly Unit[],
  onDone: (images: number) => void,
): Promise<void> {
  if (share.length === 0) return;
  using imageSampler = await loadImageSampler(weights, vaePath, dtype, world.rank === 0);
  if (world.rank === 0) console.log(modelLine(imageSampler, weights));
  let done = 0;
  for (const { numbers, missing } of share) {
    const labels = numbers.map(label);
    const samples = await imageSampler.sample(numbers, labels, settings, (taken) => {
      onDone(done + missing.length * taken / (settings.steps + 1)); // decoding takes its time too
    });
    const { images, height, width, channels } = samples;
    if (!images.every(Number.isFinite)) {
      const remedy = dtype === "f16" ? "; try without --half" : "";
      throw new CommandError(
        `${weights.path}: pictures have numbers that are not finite${remedy}`,
      );
    }
    const size = [height, width, channels] as const;
    const pixels = toPixels(images, { height, width, channels });
    await store.write(missing, kept(numbers, missing, { pixels, size }));
    onDone(done += missing.length);
  }
}

/** Of images with these numbers, those that are missing. */
function kept(
  numbers: readonly number[],
  missing: readonly number[],
  { pixels, size }: Images,
): Images {
  if (missing.length === numbers.length) return { pixels, size };
  const bytes = size.reduce((product, d) => product * d, 1);
  const out = new Uint8Array(missing.length * bytes);
  for (const [i, number] of missing.entries()) {
    const at = numbers.indexOf(number) * bytes;
    out.set(pixels.subarray(at, at + bytes), i * bytes);
  }
  return { pixels: out, size };
}
