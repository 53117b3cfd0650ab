/**
 * What the visitor has chosen: one immutable record, that the form shows, the address links to, and
 * every PNG keeps.
 */
import { type ModelInfo, MOST_PICTURES, type SamplerInfo } from "../../protocol.ts";
import { MOST_SEED } from "../../read_request.ts";

/** What a drawing is of. */
export const MODES = ["pictures", "variations", "seeds", "classes"] as const;

/** One of {@link MODES}. */
export type Mode = typeof MODES[number];

/** Everything that decides what is drawn. */
export interface Parameters {
  /** {@link ModelInfo.id}. */
  readonly model: string;
  readonly mode: Mode;
  /** Classes to draw, at least one; all but `pictures` use the first. */
  readonly labels: readonly number[];
  /** The class that `classes` goes to. */
  readonly otherLabel: number;
  readonly seed: number;
  /** The seed that `seeds` goes to. */
  readonly otherSeed: number;
  /** Pictures of each class, of seeds that follow each other. */
  readonly count: number;
  /** Variations around the picture of a seed: one of {@link AROUND}. */
  readonly around: number;
  /** How far the outermost variations are on the way to other seeds, 0 to 1. */
  readonly strength: number;
  /** Pictures from one end to the other. */
  readonly frames: number;
  readonly sampler: string;
  readonly steps: number;
  readonly eta: number;
  readonly guidance: number;
  readonly interval: readonly [number, number] | null;
}

/** Rings of 8 and 16 around one picture. */
export const AROUND = [8, 24] as const;

/** Least and most of numbers that no model sets. */
export const LIMITS = {
  count: [1, 16],
  frames: [3, 32],
  strength: [0.05, 1],
  guidance: [1, 20],
  labels: [1, 16],
} as const;

/** What a page shows first. */
export function usualParameters(model: ModelInfo): Parameters {
  const { sampler, steps, guidance, interval } = model.usual;
  const last = model.classNames.length - 1;
  return {
    model: model.id,
    mode: "pictures",
    labels: [Math.min(3, last)],
    otherLabel: Math.min(8, last),
    seed: 42,
    otherSeed: 7,
    count: 4,
    around: AROUND[0],
    strength: 0.3,
    frames: 9,
    sampler,
    steps,
    eta: 0,
    guidance,
    interval,
  };
}

/** A sampler of a model, the model's usual one where there is none of that name. */
export function samplerOf(model: ModelInfo, name: string): SamplerInfo {
  const found = model.samplers.find((sampler) => sampler.name === name) ??
    model.samplers.find((sampler) => sampler.name === model.usual.sampler) ?? model.samplers[0];
  if (found === undefined) throw new Error(`expected a model with samplers but got ${model.id}`);
  return found;
}

/**
 * Parameters that a model can be sampled with, from anything: an address that somebody typed, the text
 * of a file. What is missing or makes no sense is taken from `before`, and numbers are kept to limits.
 */
export function fitted(
  raw: Readonly<Record<string, unknown>>,
  model: ModelInfo,
  before: Parameters = usualParameters(model),
): Parameters {
  const number = (
    name: keyof Parameters,
    [least, most]: readonly [number, number],
    whole = true,
  ): number => {
    const value = raw[name];
    const usable = typeof value === "number" && Number.isFinite(value) ? value : before[name];
    const limited = Math.min(most, Math.max(least, Number(usable)));
    return whole ? Math.round(limited) : limited;
  };
  const lastLabel = model.classNames.length - 1;
  const labels = (Array.isArray(raw["labels"]) ? raw["labels"] : before.labels)
    .filter((label): label is number =>
      Number.isInteger(label) && label >= 0 && label <= lastLabel
    );
  const some = [...new Set(labels)].slice(0, LIMITS.labels[1]);
  const sampler = samplerOf(
    model,
    typeof raw["sampler"] === "string" ? raw["sampler"] : before.sampler,
  );
  const mode = MODES.find((mode) => mode === raw["mode"]) ?? before.mode;
  const around = AROUND.find((around) => around === raw["around"]) ?? before.around;
  const classes = some.length > 0 ? some : [Math.min(before.labels[0] ?? 0, lastLabel)];
  const mostEach = Math.max(1, Math.floor(MOST_PICTURES / classes.length));
  const sameSampler = sampler.name === (raw["sampler"] ?? before.sampler);
  const stepLimits = [sampler.least, sampler.most] as const;
  return {
    model: model.id,
    mode,
    labels: classes,
    otherLabel: number("otherLabel", [0, lastLabel]),
    seed: number("seed", [0, MOST_SEED]),
    otherSeed: number("otherSeed", [0, MOST_SEED]),
    count: number("count", [1, Math.min(LIMITS.count[1], mostEach)]),
    around,
    strength: number("strength", LIMITS.strength, false),
    frames: number("frames", LIMITS.frames),
    sampler: sampler.name,
    steps: sameSampler ? number("steps", stepLimits) : sampler.usual,
    eta: sampler.hasEta ? number("eta", [0, 1], false) : 0,
    guidance: model.canGuide ? number("guidance", LIMITS.guidance, false) : 1,
    interval: fittedInterval("interval" in raw ? raw["interval"] : before.interval, model),
  };
}

function fittedInterval(raw: unknown, model: ModelInfo): readonly [number, number] | null {
  if (!model.canGuide || !Array.isArray(raw) || raw.length !== 2) return null;
  if (!raw.every((time): time is number => typeof time === "number" && Number.isFinite(time))) {
    return null;
  }
  const { least, most, grain } = model.times;
  const [from, to] = raw.map((time: number) =>
    Number(Math.min(most, Math.max(least, Math.round(time / grain) * grain)).toFixed(6))
  ) as [number, number];
  return from <= to ? [from, to] : [to, from];
}

/** A seed that nobody can guess. */
export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}
