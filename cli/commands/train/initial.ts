/** Beginning a run from the weights of another model: `--init`, and what `--freeze` keeps of them. */
import type { Module } from "@dit/core/nn";
import { type ModelConfig, MODELS, processOf, takes, type TransferRow } from "@dit/core/pipeline";
import { PRETRAINED, type PretrainedName, pretrainedPath } from "../../model/catalog.ts";
import { openWeights, type Weights } from "../../model/weights.ts";
import { CommandError, messageOf, UsageError } from "../../shared/errors.ts";
import { toCommandError } from "../../shared/failures.ts";
import { exists } from "../../shared/files.ts";
import { OPTION_FLAGS, TRAIN_FLAGS, type TrainFlags } from "./flags.ts";
import type { ModelFlag } from "./flags_of_model.ts";

/**
 * The weights that `--init` names: a file, a run, a folder of diffusers, or published ones by name; the
 * averaged ones, unless their average is younger than its half-life.
 *
 * @throws {CommandError} where they are not there, or are none of a DiT.
 */
export async function openInitial(flags: TrainFlags): Promise<Weights | null> {
  const { init, "num-heads": numHeads } = flags;
  if (init === undefined) return null;
  const path = isPretrained(init) ? pretrainedPath(init) : init;
  if (isPretrained(init) && !DIT_NAMES.includes(init)) {
    throw new UsageError(
      `--init: expected the weights of a DiT, such as ${
        DIT_NAMES.join(", ")
      }, but ${init} is the ` +
        PRETRAINED[init].about,
    );
  }
  if (path !== init && !await exists(path)) {
    throw new CommandError(
      `--init: expected the weights ${path}, which are not there; get them with: ` +
        `deno task download ${init}`,
    );
  }
  try {
    // weights alone do not say it, and published ones are known
    const overrides = isPretrained(init) ? {} : { numHeads };
    const averaged = await openWeights(path, "ema", overrides);
    if (!averaged.isYoung) return averaged;
    averaged[Symbol.dispose](); // mostly what its training began with
    return await openWeights(path, "model", overrides);
  } catch (error) {
    const plain = toCommandError(error);
    if (!(plain instanceof CommandError)) throw error;
    throw new CommandError(`--init: ${messageOf(plain)}`, { cause: error });
  }
}

function isPretrained(name: string): name is PretrainedName {
  return Object.hasOwn(PRETRAINED, name);
}

/** Published weights to begin with. */
const DIT_NAMES = (Object.keys(PRETRAINED) as PretrainedName[]).filter((n) => n.startsWith("DiT-"));

/** Flags of the model that are its data's, or a setting of its own. */
const NOT_TAKEN = ["num-classes", "class-dropout"];

/** Flags as if those of the model and its process that are left out had been given as it has them. */
export function flagsLike(flags: TrainFlags, config: ModelConfig): TrainFlags {
  const process = flags.process ?? processOf(config.diffusion);
  const isSameProcess = process === processOf(config.diffusion);
  const taken = Object.entries(TRAIN_FLAGS).flatMap(([name, row]) => {
    if (!("valueIn" in row) || NOT_TAKEN.includes(name)) return [];
    if (flags[name as keyof TrainFlags] !== undefined) return [];
    if (name === "model" && !Object.hasOwn(MODELS, config.name)) return [];
    const option = OPTION_FLAGS[name as keyof typeof OPTION_FLAGS];
    if (option && !takes(process, option)) return [];
    if (name === "objective" && !isSameProcess) return [];
    const value = (row as ModelFlag<unknown>).valueIn(config);
    return value === null ? [] : [[name, value]];
  });
  return { ...flags, ...Object.fromEntries(taken) };
}

/** Side in pixels of the images that a model was trained on; undefined where nothing says it. */
export function imageSizeOf(config: ModelConfig): number | undefined {
  const { dit: { inputSize }, latents } = config;
  if (latents) return inputSize * latents.downsample;
  return isOfPixels(config) ? inputSize : undefined;
}

/** Whether a model sees pixels; more channels are latents of whatever. */
export function isOfPixels({ dit, latents }: ModelConfig): boolean {
  return latents === null && dit.inChannels <= 3;
}

/** Lines that say what became of weights. */
export function transferLines(
  rows: readonly TransferRow[],
  to: ModelConfig,
  { path, config: from, average, note, assumptions }: Weights,
): string[] {
  const processes = [from, to].map(({ diffusion }) =>
    `${processOf(diffusion)}, predicts ${diffusion.objective}`
  );
  const lines = rows.map(({ how, names, note }) =>
    `         ${how.padEnd(9)} ${names.join(", ")}${note === "" ? "" : ` (${note})`}`
  );
  const more = [...(note === null ? [] : [note]), ...assumptions.map((text) => `assuming ${text}`)];
  return [
    `init     ${path}, ${from.name}${average ? `, ${average}` : ""}`,
    ...more.map((text) => `         ${text}`),
    ...lines,
    ...(processes[0] === processes[1]
      ? []
      : [`         process   ${processes[0]} there; ${processes[1]} here`]),
  ];
}

/** Whether a name is one that a pattern means: all of it, or its beginning up to a dot. */
export function matches(name: string, pattern: string): boolean {
  const escaped = pattern.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*");
  return new RegExp(`^${escaped}(\\.|$)`).test(name);
}

/** Keeps the weights that patterns mean as they are; gives how many numbers these are. */
export function freeze(model: Module, patterns: string | null): number {
  if (patterns === null) return 0;
  let frozen = 0;
  const parameters = [...model.namedParameters()].filter(([, p]) => p.requiresGrad);
  for (const pattern of listOf("--freeze", patterns, "PATTERN")) {
    const found = parameters.filter(([name]) => matches(name, pattern));
    if (found.length === 0) throw unknownPattern("--freeze", pattern, parameters);
    for (const [, p] of found) {
      if (p.requiresGrad) frozen += p.size;
      p.requiresGrad = false;
    }
  }
  if (parameters.some(([, p]) => p.requiresGrad)) return frozen;
  throw new UsageError(
    `--freeze: expected some weights to be left to train but ${patterns} is all`,
  );
}

/**
 * The factor of the learning rate of each weight, by `PATTERN=FACTOR,...`; the last pattern that means
 * it counts.
 *
 * @param model With what is frozen, which has no rate.
 * @throws {UsageError} where a pattern means no weights that are trained, or none would be.
 */
export function rateScale(model: Module, rates: string | null): ((name: string) => number) | null {
  if (rates === null) return null;
  const parameters = [...model.namedParameters()];
  const trained = parameters.filter(([, p]) => p.requiresGrad);
  const groups = listOf("--lr-scale", rates, "PATTERN=FACTOR").map((text) => {
    const [, pattern = "", factor = ""] = /^(.*)=([^=]*)$/.exec(text) ?? [];
    const scale = factor.trim() === "" ? NaN : Number(factor);
    if (!(scale >= 0 && scale < Infinity) || pattern === "") {
      throw new UsageError(
        `--lr-scale: expected PATTERN=FACTOR,..., a factor being 0 or more, but got ${text}`,
      );
    }
    const found = parameters.filter(([name]) => matches(name, pattern));
    if (found.length === 0) throw unknownPattern("--lr-scale", pattern, trained);
    if (!found.some(([, p]) => p.requiresGrad)) {
      throw new UsageError(
        `--lr-scale: expected weights that are trained but all of ${pattern} stay as they are ` +
          `(--freeze, or fixed positions); leave out ${text}`,
      );
    }
    return { pattern, scale };
  });
  const scaleOf = (name: string): number =>
    groups.findLast(({ pattern }) => matches(name, pattern))?.scale ?? 1;
  if (trained.some(([name]) => scaleOf(name) > 0)) return scaleOf;
  throw new UsageError(
    `--lr-scale: expected some weights to be left to train but ${rates} gives all of them a rate of 0`,
  );
}

/** The parts of a list. */
function listOf(flag: string, text: string, part: string): string[] {
  const parts = text.split(",").map((part) => part.trim()).filter((part) => part !== "");
  if (parts.length > 0) return parts;
  throw new UsageError(`${flag}: expected ${part},... but got "${text}"`);
}

function unknownPattern(
  flag: string,
  pattern: string,
  parameters: readonly (readonly [string, unknown])[],
): UsageError {
  const some = [...new Set(parameters.map(([name]) => name.split(".")[0]))].join(", ");
  return new UsageError(
    `${flag}: expected patterns of the names of weights, such as blocks.0 or *.bias, but "${pattern}" ` +
      `means none; names begin with ${some}`,
  );
}
