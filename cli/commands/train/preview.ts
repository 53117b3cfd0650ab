/** Pictures of what a model has learned so far, by its averaged weights. */
import { encodePng, makeGrid } from "@dit/data";
import { SHOWN, shownClasses } from "../../shared/classes.ts";
import { openOutput } from "../sample/output.ts";
import {
  type Artist,
  type SampleSettings,
  usualGuidedChannels,
} from "../../model/image_sampler.ts";
import type { Training } from "./training.ts";

/** Samples that are computed together. */
const BATCH = 80;
/** Streams of the seed that training does not use: sample k draws from this one plus k. */
const SAMPLE_STREAM = 1 << 16;

/**
 * How samples are drawn. The noise of sample k depends on k alone, so that the grids of a run show
 * the same samples getting better.
 */
function howOf({ settings, config, diffusion }: Training): SampleSettings {
  const { sampleSteps, cfgScale, seed } = settings;
  const steps = Math.min(sampleSteps, diffusion.numTimesteps);
  const guided = { cfgScale, cfgChannels: usualGuidedChannels(config), cfgInterval: undefined };
  return { sampler: "ddim", steps, eta: 0, ...guided, seed, frames: 1 };
}

/** Runs `task` with the averaged weights in the model, as it is used. */
async function byAverages<T>({ model, ema }: Training, task: () => Promise<T>): Promise<T> {
  model.eval();
  const done = await ema.swapped(task);
  model.train();
  return done;
}

/**
 * A grid of samples as a PNG: a column a class.
 *
 * @param artist Draws with the model that is trained.
 */
export async function drawGrid(
  training: Training,
  artist: Artist,
): Promise<Uint8Array<ArrayBuffer>> {
  const classes = shownClasses(training.config.dit.numClasses);
  const columns = classes.length;
  const labels = Array.from({ length: columns * SHOWN.each }, (_, i) => classes[i % columns]!);
  const { images, ...shape } = await byAverages(
    training,
    () => artist.draw(SAMPLE_STREAM, labels, howOf(training)),
  );
  const grid = makeGrid(images, shape, { columns });
  return await encodePng(grid.pixels, grid.width, grid.height, grid.channels);
}

/** Writes samples to a file or folder as `deno task sample` does, `each` of every class. */
export async function writeSamples(
  path: string,
  training: Training,
  artist: Artist,
  each: number,
): Promise<void> {
  const { numClasses } = training.config.dit;
  const labels = Array.from({ length: each * numClasses }, (_, i) => i % numClasses);
  await using output = await openOutput(path, numClasses);
  await byAverages(training, async () => {
    for (let first = 0; first < labels.length; first += BATCH) {
      const part = labels.slice(first, first + BATCH);
      const drawn = await artist.draw(SAMPLE_STREAM + first, part, howOf(training));
      await output.write(drawn, part);
    }
  });
  await output.finish();
}
