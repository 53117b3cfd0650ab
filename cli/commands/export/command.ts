/**
 * `deno task export`: weights in a form that other programs read.
 *
 *     deno task export --to original --ckpt results/000-DiT-B-4 --out model.pt
 *     deno task export --to diffusers --ckpt model.pt --out folder
 */
import { isDiTName } from "@dit/core/dit";
import { lazyStateDict, saveSafetensors, saveTorch } from "@dit/core/io";
import { dirname } from "@std/path";
import { CommandError, UsageError } from "../../shared/errors.ts";
import { HELP as HELP_FLAG, WEIGHTS } from "../../shared/common_flags.ts";
import { choice, flagsHelp, parseFlags, text, withDefaultText } from "../../shared/flags.ts";
import { exportDiffusers } from "./diffusers.ts";
import { toCommandError } from "../../shared/failures.ts";
import { type ModelConfig, processOf } from "../../model/config.ts";
import { OVERRIDE_FLAGS, overridesFromFlags } from "../../model/overrides.ts";
import { openWeights, weightLines, type Weights } from "../../model/weights.ts";

const FLAGS = {
  "to": choice(
    ["original", "diffusers"],
    "original: a state dict that models.py loads; diffusers: a folder for DiTPipeline",
  ),
  "ckpt": text("PATH", "weights: whatever deno task sample takes"),
  "weights": WEIGHTS,
  "out": text("PATH", "a file (.pt or .safetensors), or a folder for diffusers"),
  "vae": withDefaultText(
    text("PATH|none", "autoencoder to put beside them for diffusers"),
    "the model's own",
  ),
  "help": HELP_FLAG,
} as const;
const ALL_FLAGS = { ...FLAGS, ...OVERRIDE_FLAGS } as const;

const HELP = `Writes weights in the names and shapes of other programs.

  deno task export --to original --ckpt results/000-DiT-B-4 --out model.pt
  deno task export --to diffusers --ckpt model.pt --out folder

${flagsHelp({ "Flags": FLAGS, "Of weights in files that do not say it": OVERRIDE_FLAGS })}`;

/** Runs the command; returns its exit code. */
export async function run(args: readonly string[]): Promise<number> {
  const flags = parseFlags(args, ALL_FLAGS);
  if (flags.help) {
    console.log(HELP);
    return 0;
  }
  const { to, ckpt, out, vae } = flags;
  if (to === undefined || ckpt === undefined || out === undefined) {
    throw new UsageError("expected --to, --ckpt and --out");
  }
  if (to === "original" && !/\.(pt|safetensors)$/.test(out)) {
    throw new UsageError(`--out: expected FILE.pt or FILE.safetensors but got "${out}"`);
  }
  try {
    using weights = await openWeights(ckpt, flags.weights, overridesFromFlags(flags, vae));
    refuseOtherProcess(weights);
    for (const line of weightLines(weights)) console.log(line);
    const notes = to === "original"
      ? await exportOriginal(weights, out)
      : await exportDiffusers(weights, out, vae);
    for (const note of notes) console.log(`note     ${note}`);
    console.log(`written  ${out}`);
  } catch (error) {
    throw toCommandError(error);
  }
  return 0;
}

/** Refuses models that other programs would sample wrongly, since a state dict does not hold it. */
function refuseOtherProcess({ path, config }: Weights): void {
  const process = processOf(config.diffusion);
  if (process === "gaussian") return;
  throw new CommandError(`${path}: expected a model of the process gaussian but got ${process}`);
}

/** A bare state dict, `pos_embed` included, as the published files are. */
async function exportOriginal({ source, config }: Weights, out: string): Promise<string[]> {
  const eight = source.keys().find((key) => source.info(key).dtype.startsWith("f8"));
  if (eight !== undefined && out.endsWith(".pt")) {
    throw new UsageError(`--out: expected FILE.safetensors, since ${eight} is of 8-bit floats`);
  }
  await Deno.mkdir(dirname(out), { recursive: true });
  if (out.endsWith(".pt")) await saveTorch(out, lazyStateDict(source));
  else await saveSafetensors(out, source, [["format", "pt"]]);
  return originalNotes(config);
}

/** Arguments for the original's program, which a state dict does not hold. */
function originalNotes({ dit, diffusion, name }: ModelConfig): string[] {
  const notes: string[] = [];
  const python = (flag: boolean): string => flag ? "True" : "False";
  if (!isDiTName(name)) {
    notes.push(
      `DiT(input_size=${dit.inputSize}, patch_size=${dit.patchSize}, in_channels=${dit.inChannels}, ` +
        `hidden_size=${dit.hiddenSize}, depth=${dit.depth}, num_heads=${dit.numHeads}, ` +
        `mlp_ratio=${dit.mlpRatio}, class_dropout_prob=${dit.classDropoutProb}, ` +
        `num_classes=${dit.numClasses}, learn_sigma=${python(dit.learnSigma)})`,
    );
  }
  const { objective, noiseSchedule, diffusionSteps } = diffusion;
  const flags: string[] = [];
  if (noiseSchedule !== "linear") flags.push(`noise_schedule="${noiseSchedule}"`);
  if (diffusionSteps !== 1000) flags.push(`diffusion_steps=${diffusionSteps}`);
  if (!dit.learnSigma) flags.push("learn_sigma=False");
  if (objective === "xstart") flags.push("predict_xstart=True");
  if (flags.length > 0) notes.push(`create_diffusion(..., ${flags.join(", ")})`);
  if (objective === "v") notes.push("it predicts v, which the original cannot sample");
  return notes;
}
