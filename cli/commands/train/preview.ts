/** Images of what a model has learned so far, by its averaged weights. */
import { type Process, stepRange } from "@dit/core/diffusion";
import {
  type ImageSampler,
  type ModelConfig,
  type SampleSettings,
  usualGuidedChannels,
} from "@dit/core/pipeline";
import { encodePng, makeGrid } from "@dit/data";
import { SHOWN, shownClasses } from "../../shared/classes.ts";
import { openOutput } from "../sample/output.ts";
import type { TrainSettings } from "./settings.ts";

/** A model in training, as previews need it. */
export interface Previewed {
  readonly settings: TrainSettings;
  readonly config: ModelConfig;
  readonly process: Process;
  /** Runs `task` with the averaged weights in the model. */
  averaged<T>(task: () => Promise<T>): Promise<T>;
}

/** Samples that are computed together. */
const BATCH = 80;
/** Streams of the seed that training does not use: sample k draws from this one plus k. */
const SAMPLE_STREAM = 1 << 16;

/**
 * How previews are sampled. The noise of sample k depends on k alone, so that the grids of a run
 * show the same samples getting better.
 */
export function previewSettings({ settings, config, process }: Previewed): SampleSettings {
  const { sampleSampler: sampler, sampleSteps, cfgScale, seed } = settings;
  const { least, most } = stepRange(process, sampler);
  return {
    sampler,
    steps: Math.min(Math.max(sampleSteps, least), most),
    eta: 0,
    cfgScale,
    cfgChannels: usualGuidedChannels(config),
    cfgInterval: undefined,
    seed,
    frames: 1,
  };
}

/**
 * A grid of samples as a PNG: a column a class.
 *
 * @param imageSampler Samples with the model that is trained.
 */
export async function drawGrid(
  trainee: Previewed,
  imageSampler: ImageSampler,
): Promise<Uint8Array<ArrayBuffer>> {
  const classes = shownClasses(trainee.config.dit.numClasses);
  const columns = classes.length;
  const labels = Array.from({ length: columns * SHOWN.each }, (_, i) => classes[i % columns]!);
  const { images, ...shape } = await trainee.averaged(
    () => imageSampler.sample(SAMPLE_STREAM, labels, previewSettings(trainee)),
  );
  const grid = makeGrid(images, shape, { columns });
  return await encodePng(grid.pixels, grid.width, grid.height, grid.channels);
}

/** Writes samples to a file or folder as `deno task sample` does, `each` of every class. */
export async function writeSamples(
  path: string,
  trainee: Previewed,
  imageSampler: ImageSampler,
  each: number,
): Promise<void> {
  const { numClasses } = trainee.config.dit;
  const labels = Array.from({ length: each * numClasses }, (_, i) => i % numClasses);
  await using output = await openOutput(path, numClasses, "samples");
  await trainee.averaged(async () => {
    for (let first = 0; first < labels.length; first += BATCH) {
      const part = labels.slice(first, first + BATCH);
      const settings = previewSettings(trainee);
      const samples = await imageSampler.sample(SAMPLE_STREAM + first, part, settings);
      await output.write(samples, part);
    }
  });
  await output.finish();
}
