/** What a new run trains, on what: all but its folder. */
import type { ModelConfig } from "@dit/core/pipeline";
import type { Device } from "@dit/core/tensor";
import type { World } from "../../distributed/world.ts";
import type { Weights } from "../../model/weights.ts";
import { agreeOnData, refuseUneven } from "../../run/shares.ts";
import { startDevice } from "../../shared/device.ts";
import { warnAbove } from "../../shared/progress.ts";
import { openData } from "./data.ts";
import { checkMemory } from "./estimates.ts";
import type { TrainFlags } from "./flags.ts";
import { flagsLike, imageSizeOf, isOfPixels, openInitial } from "./initial.ts";
import type { TrainData } from "./open_data.ts";
import { withRecipe } from "./recipe.ts";
import {
  modelConfigOf,
  settingsOf,
  settledBy,
  totalSteps,
  type TrainSettings,
  usualImageSize,
} from "./settings.ts";

/** A new run before its first step; disposing of it closes the data and the weights it begins with. */
export interface NewRun extends AsyncDisposable {
  readonly device: Device;
  readonly data: TrainData;
  readonly config: ModelConfig;
  readonly settings: TrainSettings;
  /** Of the whole run. */
  readonly steps: number;
  /** What it begins with; null for fresh weights. */
  readonly initial: Weights | null;
}

/**
 * Opens what the flags of a new run ask for, with the recipe of its data. Collective.
 *
 * @throws {CommandError} where they contradict each other, or the data or the device are not there.
 * @throws {OutOfMemoryError} where the device cannot hold it.
 */
export async function openNewRun(given: TrainFlags, world: World): Promise<NewRun> {
  await using stack = new AsyncDisposableStack();
  const initial = await openInitial(given);
  if (initial) stack.use(initial);
  const withOwn = withRecipe(given, initial?.config.name);
  const flags = initial ? flagsLike(withOwn, initial.config) : withOwn;
  const asked = settingsOf(flags);
  refuseUneven(world, "global-batch-size", asked);
  const device = await startDevice(flags, world);
  const data = stack.use(
    await openData(asked, {
      usualSize: (initial && imageSizeOf(initial.config)) ?? usualImageSize(flags),
      warn: warnAbove,
      isShown: world.rank === 0,
      numClasses: flags["num-classes"],
      ofPixels: initial !== null && isOfPixels(initial.config),
    }),
  );
  const config = modelConfigOf(flags, asked, data.shape);
  const settings = settledBy(data.shape, asked, flags, data.dataset.size);
  const steps = totalSteps(settings, data.dataset.size);
  checkMemory(config, settings, device, world);
  await agreeOnData(world, settings.data, data.dataset);
  const owned = stack.move();
  return {
    device,
    data,
    config,
    settings,
    steps,
    initial,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
