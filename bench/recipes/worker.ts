/** Times steps and samples of all rows in turns, and says what each took. */
import type { Examples } from "@dit/data";
import { ImageSampler, type SampleSettings } from "@dit/core/pipeline";
import { init } from "@dit/core/tensor";
import { DiTTrainee } from "../../cli/commands/train/dit_trainee.ts";
import { TRAIN_FLAGS } from "../../cli/commands/train/flags.ts";
import { modelConfigOf, settingsOf, settledBy } from "../../cli/commands/train/settings.ts";
import { SAMPLE_FLAGS } from "../../cli/commands/sample/flags.ts";
import { samplingSettings } from "../../cli/model/sampling_setup.ts";
import { parseFlags } from "../../cli/shared/flags.ts";
import { RESULT_MARK } from "../distributed/launch.ts";
import type { TimingJob } from "./process.ts";
import { type RecipeRow, sampleArguments, SHAPES, trainArguments } from "./rows.ts";
import type { Timed } from "./table.ts";

/** Turns; the first ones compile kernels and take memory. */
const [WARM, TURNS] = [2, 20];
/** Pictures that are drawn at once. */
const PICTURES = 20;

const job: TimingJob = JSON.parse(Deno.args[0]!);
await init({ device: "wasm" });
const { classes, channels, imageSize } = SHAPES[job.data]!;

/** What is timed of a row. */
interface Candidate {
  readonly trainee: DiTTrainee;
  readonly batch: Examples;
  readonly sampler: ImageSampler;
  readonly settings: SampleSettings;
  readonly steps: number[];
  readonly samples: number[];
}

const candidates = job.rows.map(candidateOf);
const labels = Array.from({ length: job.tiny ? 2 : PICTURES }, (_, i) => i % classes);
for (let turn = 0; turn < (job.tiny ? 2 : WARM + TURNS); turn++) {
  for (const { trainee, batch, steps } of candidates) {
    const start = performance.now();
    await trainee.takeStep(batch);
    if (job.tiny || turn >= WARM) steps.push(performance.now() - start);
  }
  // samples take as long as many steps, so not in every turn
  if (turn % 4 !== 3 && !job.tiny) continue;
  for (const { sampler, settings, samples } of candidates) {
    const start = performance.now();
    await sampler.sample(0, labels, settings);
    samples.push(performance.now() - start);
  }
}
const timed: Timed[] = candidates.map(({ steps, samples }) => ({
  secondsAStep: Math.min(...steps) / 1000, // what it takes when nothing else disturbs
  secondsAPicture: Math.min(...samples) / 1000 / labels.length,
}));
console.log(RESULT_MARK + JSON.stringify(timed));
Deno.exit(); // threads that wait for work would keep the process

function candidateOf(row: RecipeRow): Candidate {
  const flags = parseFlags(trainArguments(row, job.data, job.tiny), TRAIN_FLAGS);
  const shape = {
    kind: "images",
    channels,
    side: imageSize,
    imageSize,
    classNames: Array.from({ length: classes }, (_, i) => String(i)),
    latents: null,
  } as const;
  const asked = settingsOf({ ...flags, steps: 1000 });
  const config = modelConfigOf(flags, asked, shape);
  const settings = settledBy(shape, asked, flags, 60_000);
  const trainee = new DiTTrainee(config, settings, { steps: 1000 });
  const { model, process } = trainee;
  return {
    trainee,
    batch: exampleBatch(settings.batchSize),
    sampler: new ImageSampler(config, { model, process }, null),
    settings: samplingSettings(
      parseFlags(sampleArguments(row), SAMPLE_FLAGS),
      {
        path: row.name,
        config,
      },
      { sampler: () => "dpm++", cfgScale: 1 },
      0,
    ),
    steps: [],
    samples: [],
  };
}

function exampleBatch(size: number): Examples {
  const shape = [size, channels, imageSize, imageSize] as const;
  const length = size * channels * imageSize * imageSize;
  const labels = Int32Array.from({ length: size }, (_, i) => i % classes);
  return { images: Float32Array.from({ length }, (_, i) => Math.sin(i)), shape, labels };
}
