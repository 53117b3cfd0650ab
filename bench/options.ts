/**
 * The original's table of training options: gradient checkpointing, mixed precision and features
 * made beforehand, all combinations, with steps a second and memory. Each combination runs the code
 * of `deno task train` in a process of its own, so that memory is its own, and one that does not fit
 * ends alone.
 *
 *     deno task bench options                    what suits the device: the original's on a GPU
 *     deno task bench options --model DiT-B/2 --batch-size 32 --image-size 256
 *     deno task bench options --device wasm --only none,checkpointing+fp16+features
 *     deno task bench options --json             and keep the figures in bench/results
 *     deno task bench options --tiny             in miniature, to see that it works
 *
 * Without features each step encodes its images by the autoencoder, as the original's `train.py`
 * does. Where there are no published weights of one, its weights are random: the time is the same.
 */
import { fromFileUrl } from "@std/path";
import { DEVICE, imageSide } from "../cli/shared/common_flags.ts";
import { CommandError } from "../cli/shared/errors.ts";
import { count, type FlagValues, text, withDefault, withDefaultText } from "../cli/shared/flags.ts";
import { duration, ProgressLine, rateText } from "../cli/shared/progress.ts";
import type { SuiteOptions } from "./main.ts";
import type { Report } from "./measure.ts";
import {
  type Ended,
  type Measured,
  type Prepared,
  type PrepareJob,
  runJob,
} from "./options/job.ts";
import { COMBINATIONS, nameOf, type OptionsRow, optionsTable, rowOf } from "./options/table.ts";

/** Each row's process starts in the fast tier, as the commands do. */
export const tiered = false;

/** What can be asked for. */
export const flags = {
  "model": withDefaultText(text("NAME", "as of `deno task train`"), "DiT-XL/2; DiT-S/2 on a CPU"),
  "batch-size": withDefaultText(count("images a step"), "128; 8 on a CPU"),
  "image-size": withDefaultText(imageSide("side of the images in pixels"), "256; 128 on a CPU"),
  "vae": withDefaultText(
    text("ema|mse|PATH", "the autoencoder"),
    "ema where it is, otherwise one of random weights",
  ),
  "device": withDefault(DEVICE, "auto"),
  "warmup": withDefaultText(count("steps before those that are timed"), "2; 1 on a CPU"),
  "steps": withDefaultText(count("steps that are timed"), "5; 3 on a CPU"),
};

/** The combinations. */
export const parts = COMBINATIONS.map(nameOf);

/** Everything in miniature; flags of its own go before it. */
const TINY = {
  model: "DiT-Mini/2",
  batchSize: 8,
  imageSize: 128,
  device: "wasm",
  warmup: 1,
  steps: 2,
  others: "--hidden-size 32 --depth 4 --num-heads 2 --num-classes 10".split(" "),
} as const;

/** Where the data are for a while. */
const FOLDER = new URL("results/options/", import.meta.url);

/**
 * Runs the suite.
 *
 * @param folder Where the data go; they are removed at the end.
 * @throws {CommandError} where a combination failed for another reason than memory, after the others.
 */
export async function run(
  report: Report,
  { tiny, only, seconds, given = {} }: SuiteOptions,
  folder = FOLDER,
): Promise<void> {
  const started = performance.now();
  await remove(folder);
  await Deno.mkdir(folder, { recursive: true });
  try {
    const chosen = COMBINATIONS.filter((each) => only?.includes(nameOf(each)) ?? true);
    const features = chosen.some(({ features }) => features);
    const job = prepareJob(given as FlagValues<typeof flags>, { folder, tiny, features });
    const prepared = await prepare(report, job);
    const isLate = () => performance.now() - started > seconds * 1000;
    await measureRows(report, prepared, { folder, chosen, isLate });
  } finally {
    await remove(folder);
  }
}

async function remove(folder: URL): Promise<void> {
  await Deno.remove(folder, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}

/** What is to be made before the rows. */
function prepareJob(
  given: FlagValues<typeof flags>,
  { folder, tiny, features }: { folder: URL; tiny: boolean; features: boolean },
): PrepareJob {
  const { model, vae, device, warmup, steps } = given;
  const [batchSize, imageSize] = [given["batch-size"], given["image-size"]];
  return {
    what: "prepare",
    asked: {
      ...(tiny ? TINY : {}),
      ...asked({ model, batchSize, imageSize, vae, device, warmup, steps }),
    },
    folder: fromFileUrl(folder),
    tiny,
    features,
  };
}

/** Makes the data in a process of its own, and says what is measured. */
async function prepare(report: Report, job: PrepareJob): Promise<Prepared> {
  console.log(`\nmaking images${job.features ? ", and their features" : ""}`);
  const ended = await runJob<Prepared>(job);
  if (ended.how !== "done") throw new CommandError(`options: ${ended.how}: ${ended.reason}`);
  const { setup, machine, device, vae } = ended.result;
  const { model, batchSize, imageSize, warmup, steps } = setup;
  const slug = model.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  report.machine = job.tiny ? "tiny" : `${machine}-${slug}-batch-${batchSize}-${imageSize}px`;
  report.note("when", new Date().toISOString());
  report.note("setup", { model, batchSize, imageSize, warmup, steps, device, vae });
  report.note("cores", navigator.hardwareConcurrency);
  console.log(
    [
      `model    ${model}, batches of ${batchSize} images of ${imageSize}x${imageSize}`,
      `device   ${device}`,
      `vae      ${vae}`,
      `steps    ${steps} timed after ${warmup} to warm up, each row in a process of its own`,
      `memory   ${memoryText(setup.device)}`,
    ].join("\n"),
  );
  return ended.result;
}

/** What was given; nothing for what was left out, so that it takes nothing else's place. */
function asked(values: PrepareJob["asked"]): PrepareJob["asked"] {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

function memoryText(device: "webgpu" | "wasm"): string {
  return device === "wasm"
    ? "the most that the process held"
    : "what the engine took of the device's memory";
}

/** Which rows are measured, and where their data are. */
interface Rows {
  readonly folder: URL;
  readonly chosen: typeof COMBINATIONS;
  /** Whether no time is left. */
  readonly isLate: () => boolean;
}

async function measureRows(
  report: Report,
  { setup }: Prepared,
  { folder, chosen, isLate }: Rows,
): Promise<void> {
  const each = setup.warmup + setup.steps;
  const rows: OptionsRow[] = [];
  const failures: string[] = [];
  using line = new ProgressLine("");
  for (const [i, options] of chosen.entries()) {
    const name = nameOf(options);
    const show = (step: number) =>
      line.show(i * each + step, chosen.length * each, `${name}, row ${i + 1} of ${chosen.length}`);
    show(0);
    const job = { what: "row", setup, options, folder: fromFileUrl(folder) } as const;
    const start = performance.now();
    const ended: Ended<Measured> | { how: "no time left"; reason: string } = isLate()
      ? { how: "no time left", reason: "" }
      : await runJob<Measured>(job, show);
    const row = rowOf(options, setup.device, ended);
    rows.push(row);
    const result = row.note ?? rateText(row.stepsPerSecond!, "steps");
    line.note(`${name}: ${result} (${duration((performance.now() - start) / 1000)})`);
    if (ended.how === "failed") failures.push(`${name}: ${ended.reason}`);
    report.note("rows", rows);
  }
  console.log(`\n${optionsTable(rows)}`);
  if (failures.length > 0) throw new CommandError(`options: failed\n${failures.join("\n")}`);
}
