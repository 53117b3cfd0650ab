/**
 * `deno task tune`: measures how the kernels of this machine's GPU are best written and divided, and
 * keeps that for all that runs on it.
 *
 *     deno task tune
 *     deno task tune --model DiT-XL/2 --half
 */
import { type Device, tune, type TuneModel, type TuneRow } from "@dit/core/tensor";
import { modelSize } from "../../model/model_flags.ts";
import { DEVICE_FLAGS, HELP as HELP_FLAG } from "../../shared/common_flags.ts";
import { deviceText, startDevice } from "../../shared/device.ts";
import { CommandError } from "../../shared/errors.ts";
import { toCommandError } from "../../shared/failures.ts";
import {
  count,
  type Flag,
  flagsHelp,
  parseFlags,
  text,
  toggle,
  withDefault,
  withDefaultText,
} from "../../shared/flags.ts";
import { duration } from "../../shared/progress.ts";
import { writeTuneFile } from "../../tuning/file.ts";
import { grantedTuneFolder } from "../../tuning/folder.ts";
import { cardOf } from "../../tuning/plans.ts";
import { TINY_MODELS, tuneModels } from "../../tuning/models.ts";

/** What is measured unless told otherwise, the most used first. */
const USUAL_MODELS = ["DiT-S/2", "DiT-Mini/4", "DiT-B/2", "DiT-XL/2"] as const;

const models: Flag<string[]> = {
  help: "what is to run fast, the most important first",
  value: "NAME,NAME,...",
  parse(given) {
    const names = given.split(",");
    for (const name of names) modelSize(name);
    return names;
  },
};

const FLAGS = {
  "model": withDefault(models, [...USUAL_MODELS]),
  "batch-size": withDefaultText(
    count("images of a step"),
    "as many as have 8192 tokens, 64 at most",
  ),
  "gpu": DEVICE_FLAGS.gpu,
  "half": toggle(
    "measure half precision too, as --mixed-precision fp16 and sampling with --half have it",
  ),
  "seconds": withDefault(count("for how long to measure"), 120),
  "out": withDefaultText(
    text("DIR", "the folder to keep it in"),
    "the user's cache, where it is found",
  ),
  "tiny": toggle(
    "measure next to nothing, to see that it works, on a program that acts as a GPU too",
  ),
  "help": HELP_FLAG,
} as const;

const HELP = `Measures how kernels run fastest on this machine's GPU, and keeps it for all commands.

  deno task tune                             about two minutes; nothing else should use the GPU
  deno task tune --model DiT-XL/2 --half     for what is to be trained next

Commands measure for some seconds by themselves when a GPU is first used. Runs that are resumed keep
to what they began with.

${flagsHelp({ "Flags": FLAGS })}`;

/** Runs the command; returns its exit code. */
export async function run(args: readonly string[]): Promise<number> {
  const flags = parseFlags(args, FLAGS);
  if (flags.help) {
    console.log(HELP);
    return 0;
  }
  const { tiny = false, half = false, seconds = FLAGS.seconds.default } = flags;
  const folder = flags.out ?? (tiny ? null : grantedTuneFolder());
  if (folder === null && !tiny) {
    throw new CommandError(
      "expected a folder for the user's cache but found none; name one by --out",
    );
  }
  try {
    const device = await startDevice({ device: "webgpu", gpu: flags.gpu, tune: false });
    const adapter = checkedAdapter(device, tiny, flags.gpu);
    console.log(`device   ${deviceText(device)}`);
    const names = flags.model ?? FLAGS.model.default;
    const wanted: readonly TuneModel[] = tiny ? TINY_MODELS : [
      ...tuneModels(names, "f32", flags["batch-size"]),
      ...(half ? tuneModels(names, "f16", flags["batch-size"]) : []),
    ];
    const begun = performance.now();
    const { plans, rows, skipped, cores } = await tune({
      models: wanted,
      seconds,
      onRows: (some) => console.log(tableOf(some)),
      ...(tiny ? { most: { shapes: 1, variants: 2 } } : {}),
    }, device);
    const took = duration((performance.now() - begun) / 1000);
    const changed = rows.filter(({ isChosen, isUsual }) => isChosen && !isUsual).length;
    console.log(
      `\nmeasured ${rows.length} variants in ${took}; ${changed} of them are faster than the built-in ones`,
    );
    if (cores !== null) console.log(`cores    ${cores}, by which other shapes are planned`);
    if (skipped > 0) {
      console.log(`         no time left for ${skipped} classes of shapes: give more --seconds`);
    }
    if (folder !== null) console.log(`written  ${await writeTuneFile(folder, adapter, plans)}`);
  } catch (error) {
    throw toCommandError(error);
  }
  return 0;
}

/**
 * The name of the GPU.
 *
 * @throws {CommandError} where it is a program on the CPU, unless in miniature.
 */
function checkedAdapter(device: Device, tiny: boolean, gpu: string | undefined): string {
  const { backend } = device;
  const adapter = cardOf(device, gpu);
  if (adapter === null && !tiny) {
    throw new CommandError(
      `${backend.description} is a program on the CPU, on which commands keep to the built-in ` +
        "plans: expected a GPU (--tiny shows that measuring works)",
    );
  }
  return adapter ?? "tiny";
}

/** The variants of one kernel for one shape, the fastest marked. */
function tableOf(rows: readonly TuneRow[]): string {
  const [first] = rows;
  if (first === undefined) return "";
  const lines = rows.map(({ milliseconds, variant, isUsual, isChosen }) => {
    const time = Number.isNaN(milliseconds) ? "wrong" : `${milliseconds.toFixed(3)} ms`;
    const notes = [isUsual ? "built in" : "", isChosen ? "chosen" : ""].filter(Boolean).join(", ");
    return `  ${time.padStart(12)}  ${variant.padEnd(24)}  ${notes}`.trimEnd();
  });
  return `\n${first.kernel}: ${first.shape}\n${lines.join("\n")}`;
}
