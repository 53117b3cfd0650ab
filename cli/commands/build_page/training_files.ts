/** What a page of static files trains on, and how: the recipe of `deno task train`. */
import { packImages, type TrainingPlan, trainingSettingsOf } from "@dit/web";
import { basename } from "@std/path";
import { CommandError } from "../../shared/errors.ts";
import { bytesText, warnAbove } from "../../shared/progress.ts";
import { openData } from "../train/data.ts";
import { parameterCount } from "../train/estimates.ts";
import { withRecipe } from "../train/recipe.ts";
import {
  modelConfigOf,
  settingsOf,
  settledBy,
  totalSteps,
  usualImageSize,
} from "../train/settings.ts";

/** Most bytes of images, unpacked: a page holds them in memory. */
const MOST_BYTES = 2 ** 28;

/** What the files are called. */
export const TRAINING_NAMES = { plan: "training.json", images: "training-images.bin" } as const;

/** Files of a page that trains. */
export interface TrainingFiles {
  /** What the plan is called. */
  readonly name: string;
  readonly plan: TrainingPlan;
  /** What the plan's `data` holds. */
  readonly images: Uint8Array<ArrayBuffer>;
}

/**
 * The plan and the images.
 *
 * @param data As `--data` of `deno task train` names it.
 * @throws {CommandError} where there are no such images, or too many.
 */
export async function trainingFiles(data: string): Promise<TrainingFiles> {
  const given = withRecipe({ data });
  const usual = settingsOf(given);
  const usualSize = usualImageSize(given);
  const once = { ...usual, cropCache: 0 }; // each image is read once
  await using opened = await openData(once, { usualSize, warn: warnAbove });
  const { dataset, shape, text } = opened;
  if (shape.kind === "features" || shape.latents !== null) {
    throw new CommandError(
      `--data ${data}: expected images, which a page can train on, but these are features`,
    );
  }
  const bytes = dataset.size * shape.channels * shape.side ** 2;
  if (bytes > MOST_BYTES) {
    throw new CommandError(
      `--data ${data}: expected ${
        bytesText(MOST_BYTES)
      } of images at most, which visitors have to ` +
        `load, but these are ${bytesText(bytes)}`,
    );
  }
  // a batch is no larger than the data
  const flags = { ...given, "global-batch-size": Math.min(usual.batchSize, dataset.size) };
  const asked = settingsOf(flags);
  const config = modelConfigOf(flags, asked, shape);
  const settings = settledBy(shape, asked, flags, dataset.size);
  const steps = totalSteps(settings, dataset.size);
  const images = await packImages(dataset);
  const count = parameterCount(config.dit).toLocaleString("en");
  return {
    name: TRAINING_NAMES.plan,
    plan: {
      title: `${config.name}, ${count} parameters, on ${basename(data)}: ${text}`,
      config,
      settings: trainingSettingsOf({ ...settings, steps }),
      data: TRAINING_NAMES.images,
      bytes: images.length,
    },
    images,
  };
}
