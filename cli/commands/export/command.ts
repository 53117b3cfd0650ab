/**
 * `deno task export`: weights in a form that other programs read.
 *
 *     deno task export --to original --ckpt results/000-DiT-B-4 --out model.pt
 *     deno task export --to diffusers --ckpt model.pt --out folder
 */
import { UsageError } from "../../shared/errors.ts";
import { HELP as HELP_FLAG, WEIGHTS } from "../../shared/common_flags.ts";
import { choice, flagsHelp, parseFlags, text, withDefaultText } from "../../shared/flags.ts";
import { exportDiffusers } from "./diffusers.ts";
import { exportOriginal } from "./original.ts";
import { toCommandError } from "../../shared/failures.ts";
import { OVERRIDE_FLAGS, overridesFromFlags } from "../../model/overrides.ts";
import { openWeights, weightLines } from "../../model/weights.ts";

const FLAGS = {
  "to": choice(
    ["original", "diffusers"],
    "original: for models.py of DiT, or of SiT for a flow; diffusers: a folder for DiTPipeline",
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
