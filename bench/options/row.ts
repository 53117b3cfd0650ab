/** A row of the options' table: steps of `deno task train`, with some of its options. */
import { memory } from "@dit/core/tensor";
import { join } from "@std/path";
import { DIT_KIND, DiTTrainee } from "../../cli/commands/train/dit_trainee.ts";
import { TRAIN_FLAGS } from "../../cli/commands/train/flags.ts";
import { openNewRun } from "../../cli/commands/train/new_run.ts";
import { ALONE } from "../../cli/distributed/world.ts";
import { TrainingLoop } from "../../cli/run/loop.ts";
import { History } from "../../cli/run/report.ts";
import { parseFlags } from "../../cli/shared/flags.ts";
import { peakResidentBytes } from "../measure.ts";
import { type Measured, type Options, type RowJob, type Setup, STEP_MARK } from "./job.ts";

/** The command line of `deno task train` that a row stands for. */
export function trainArguments(setup: Setup, options: Options, folder: string): string[] {
  const { model, batchSize, imageSize, device, warmup, steps, vae, others } = setup;
  const data = options.features
    ? ["--data", join(folder, "features")]
    : ["--data", join(folder, "images"), "--image-size", String(imageSize), "--vae", vae];
  const length = String(warmup + steps);
  return [
    ...data,
    ...["--model", model, "--global-batch-size", String(batchSize), "--device", device],
    ...["--num-classes", "1000", "--steps", length, "--log-every", length],
    ...["--sample-every", "0", "--final-samples", "0"],
    ...(options.checkpointing ? ["--grad-checkpoint"] : []),
    ...(options.mixedPrecision ? ["--mixed-precision", "fp16"] : []),
    ...others,
  ];
}

/** Takes the steps, and says what they took. */
export async function measureRow({ setup, options, folder }: RowJob): Promise<Measured> {
  const flags = parseFlags(trainArguments(setup, options, folder), TRAIN_FLAGS);
  await using opened = await openNewRun(flags, ALONE);
  const { device, data: { dataset, input }, config, settings, steps } = opened;
  using trainee = new DiTTrainee(config, settings, { steps, input });
  const history = new History(DIT_KIND.curves);
  const run = { trainee, dataset, device, folder: null, history, summary: [] };
  const stopping = () => {
    console.log(`${STEP_MARK}${trainee.step}`);
    return false;
  };
  await new TrainingLoop({ ...run, steps: setup.warmup, stopping }).train();
  await new TrainingLoop({ ...run, steps, stopping }).train();
  const { stepsPerSecond, waiting, loss } = history.last!; // of the second loop
  const { peakBytes, reservedBytes } = memory(device);
  return {
    stepsPerSecond,
    waiting,
    loss,
    tensorBytes: peakBytes,
    reservedBytes,
    residentBytes: peakResidentBytes("self"),
  };
}
