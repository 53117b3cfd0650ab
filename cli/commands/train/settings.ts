/** Settings of a run from its flags: defaults filled in, contradictions refused. */
import { basename, resolve } from "@std/path";
import { type Process, type ProcessName, SAMPLERS } from "@dit/core/diffusion";
import { DIT_DEFAULTS, DIT_SWITCHES, type DiTSwitches } from "@dit/core/dit";
import {
  type DiffusionConfig,
  isOriginalModel,
  type ModelConfig,
  takes,
  usualObjective,
} from "@dit/core/pipeline";
import { checkProcess, modelSize, processOfFlags } from "../../model/model_flags.ts";
import { CommandError, UsageError } from "../../shared/errors.ts";
import { namedData } from "../../shared/named_data.ts";
import {
  isEqual,
  type Preset,
  readSettings,
  refuseLargeBatch,
  resumeSettings,
  sameSettings,
  settingsFrom,
  warmupOf,
} from "../../shared/settings.ts";
import { checkSampler } from "../../model/sampling_steps.ts";
import type { DataShape } from "./open_data.ts";
import {
  LATENT_FROM,
  OPTION_FLAGS,
  TRAIN_FLAGS,
  type TrainFlags,
  type TrainSettings,
} from "./flags.ts";
import type { ModelFlag } from "./flags_of_model.ts";
import { flagsLike } from "./initial.ts";

export type { TrainSettings } from "./flags.ts";

/** The name of the model asked for. */
function modelName(flags: TrainFlags): string {
  const name = flags.model ?? TRAIN_FLAGS.model.defaults.small;
  modelSize(name); // refuses names that there are not
  return name;
}

/** Whose defaults hold: those of the paper's models are the original's. */
function presetOf(flags: TrainFlags): Preset {
  return isOriginalModel(modelName(flags)) ? "original" : "small";
}

/** Side of images that nothing else decides. */
export function usualImageSize(flags: TrainFlags): number {
  return TRAIN_FLAGS["image-size"].defaults[presetOf(flags)]!;
}

/**
 * Settings of a new run, but for what its data decide: see {@linkcode settledBy}.
 *
 * @throws {UsageError} where flags contradict each other.
 */
export function settingsOf(flags: TrainFlags): TrainSettings {
  refuseBothLengths(flags);
  const usual = settingsFrom(TRAIN_FLAGS, flags, presetOf(flags));
  const settings: TrainSettings = {
    ...usual,
    ...lengthOf(flags, usual),
    // guided twice, samples would be overdone
    cfgScale: flags["cfg-scale"] ?? (usual.modelGuidance > 0 ? 1 : usual.cfgScale),
    flip: flags.flip ?? namedData(usual.data)?.flip ?? usual.flip,
  };
  if (settings.batchSize % settings.gradAccum !== 0) {
    throw new UsageError(
      `--grad-accum: expected a number of equal parts of a batch of ${settings.batchSize} but ` +
        `got ${settings.gradAccum}`,
    );
  }
  checkPreviews(settings);
  checkTimeFlags(flags, settings);
  checkProcessFlags(flags, flags.process ?? TRAIN_FLAGS.process.defaults[presetOf(flags)]);
  return settings.steps === null ? settings : withWarmup(settings, flags, settings.steps);
}

/** Refuses samples that their sampler cannot make. */
function checkPreviews({ sampleSampler, sampleSteps }: TrainSettings): void {
  const { leastSteps = 1 } = SAMPLERS[sampleSampler];
  if (sampleSteps >= leastSteps) return;
  throw new UsageError(
    `--sample-steps: expected ${leastSteps} or more with --sample-sampler ${sampleSampler} but ` +
      `got ${sampleSteps}`,
  );
}

/** Refuses more steps of a sample than the process has; the default is shortened to those. */
function checkPreviewLength(flags: TrainFlags, config: ModelConfig): void {
  const asked = flags["sample-steps"];
  const { maxSteps } = processOfFlags(config);
  if (asked === undefined || asked <= maxSteps) return;
  throw new UsageError(
    `--sample-steps: expected ${maxSteps} at most, the model's timesteps, but got ${asked}`,
  );
}

/** Refuses what is said of a distribution of times where another one is drawn from. */
function checkTimeFlags(flags: TrainFlags, { timestepSampler }: TrainSettings): void {
  const given = (["time-mean", "time-scale"] as const).find((name) => flags[name] !== undefined);
  if (given === undefined || timestepSampler === "logit-normal") return;
  throw new UsageError(
    `--${given}: expected --timestep-sampler logit-normal with it but got ${timestepSampler}`,
  );
}

/** Refuses flags that say nothing of a process. */
function checkProcessFlags(flags: TrainFlags, process: ProcessName): void {
  for (const [name, option] of Object.entries(OPTION_FLAGS) as [keyof TrainFlags, "timeShift"][]) {
    if (flags[name] === undefined || flags[name] === false || takes(process, option)) continue;
    throw new UsageError(`--${name}: --process ${process} has no such setting; leave it out`);
  }
}

/** Refuses a training and previews that the process of a model cannot have. */
function checkFitsProcess(process: Process, settings: TrainSettings): void {
  checkSampler(process, settings.sampleSampler, "sample-sampler");
  const { timestepSampler: name, timeMean: mean, timeScale: scale } = settings;
  try {
    process.timestepSampler(name, { mean, scale });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UsageError(
      `--timestep-sampler ${name} with --process ${process.name}: ${error.message}`,
      { cause: error },
    );
  }
}

function refuseBothLengths({ steps, epochs }: TrainFlags): void {
  if (steps === undefined || epochs === undefined) return;
  throw new UsageError("expected --steps or --epochs but got both");
}

/** The length of a run, of which one flag says as much as both: the other counts no more. */
function lengthOf(
  flags: TrainFlags,
  usual: TrainSettings,
): Pick<TrainSettings, "steps" | "epochs"> {
  return {
    steps: flags.steps ?? (flags.epochs === undefined ? usual.steps : null),
    epochs: flags.epochs ?? (flags.steps === undefined ? usual.epochs : null),
  };
}

/** Settings with a warm-up that fits into a new run. */
function withWarmup(settings: TrainSettings, flags: TrainFlags, steps: number): TrainSettings {
  return { ...settings, warmup: warmupOf(flags.warmup, settings.warmup, steps) };
}

/**
 * Settings of a resumed run: its own, except its length and what is written.
 *
 * @param config The run's model, which flags may name but not change.
 * @throws {UsageError} where a flag would make another run of it.
 */
export function resumedSettings(
  before: TrainSettings,
  flags: TrainFlags,
  config?: ModelConfig,
): TrainSettings {
  refuseBothLengths(flags);
  const settings = resumeSettings(
    TRAIN_FLAGS,
    before,
    flags,
    (row) => config && "valueIn" in row ? (row as ModelFlag<unknown>).valueIn(config) : undefined,
  );
  checkPreviews(settings);
  if (config) {
    checkPreviewLength(flags, config);
    checkFitsProcess(processOfFlags(config), settings);
  }
  return { ...settings, ...lengthOf(flags, before) };
}

/** A run as its checkpoints describe it. */
export interface RunDescription {
  readonly settings: TrainSettings;
  readonly config: ModelConfig;
}

/**
 * Whether flags, without any others, describe a run: what `--resume auto` looks for. How often
 * things are written does not matter, and what the data decide is taken from the run.
 *
 * @param hasOwnSize Whether the data decide the size of their images, as IDX files do.
 */
export function sameRun(
  flags: TrainFlags,
  { settings, config }: RunDescription,
  hasOwnSize = false,
): boolean {
  const preset = presetOf(flags);
  const { latents, dit, classNames } = config;
  const named = namedData(settings.data);
  const usualSize = named?.imageSize ?? TRAIN_FLAGS["image-size"].defaults[preset];
  const isUsualSize = latents !== null || hasOwnSize || flags.init !== undefined ||
    settings.imageSize === usualSize;
  const isUsualVae = named !== undefined || hasOwnSize || settings.vae !== "none" ||
    settings.imageSize! < LATENT_FROM || flags.init !== undefined; // of pixels, as it seems
  const open = {
    imageSize: flags["image-size"] === undefined && isUsualSize,
    vae: flags.vae === undefined && isUsualVae,
    // shortened by the number of steps
    warmup: flags.warmup === undefined &&
      settings.warmup <= TRAIN_FLAGS.warmup.defaults[preset],
  };
  try {
    const whole = flags.init === undefined ? flags : flagsLike(flags, config);
    const made = settingsOf(whole);
    const model = modelConfigOf(whole, made, {
      kind: "images",
      channels: dit.inChannels,
      side: dit.inputSize,
      imageSize: settings.imageSize!,
      classNames,
      latents,
    });
    const absolute = (run: TrainSettings) => ({ ...run, data: resolve(run.data) });
    return isEqual(modelValues(model), modelValues(config)) &&
      sameSettings(
        TRAIN_FLAGS,
        absolute(made),
        absolute(readSettings(TRAIN_FLAGS, settings)),
        (key) => (open as Partial<Record<keyof TrainSettings, boolean>>)[key] ?? false,
      );
  } catch (error) {
    if (error instanceof CommandError) return false;
    throw error;
  }
}

/** The values of the model's flags in a configuration. */
function modelValues(config: ModelConfig): unknown[] {
  return Object.values(TRAIN_FLAGS).map((row) => "valueIn" in row ? row.valueIn(config) : null);
}

/**
 * Settings with what the data decided.
 *
 * @param images Number of examples.
 * @throws {UsageError} where there are fewer examples than a batch has, or fewer steps than the
 * warm-up.
 */
export function settledBy(
  { imageSize, latents }: DataShape,
  settings: TrainSettings,
  flags: TrainFlags,
  images: number,
): TrainSettings {
  const settled = { ...settings, imageSize, vae: latents?.vae ?? "none" };
  return withWarmup(settled, flags, totalSteps(settled, images));
}

/**
 * How many steps a run has.
 *
 * @throws {UsageError} where there are fewer examples than a batch has.
 */
export function totalSteps({ steps, epochs, batchSize }: TrainSettings, images: number): number {
  refuseLargeBatch("global-batch-size", batchSize, images);
  return steps ?? epochs! * Math.floor(images / batchSize);
}

/**
 * The model of a new run.
 *
 * @throws {UsageError} where the flags do not fit each other or the data.
 */
export function modelConfigOf(
  flags: TrainFlags,
  settings: TrainSettings,
  data: DataShape,
): ModelConfig {
  const preset = presetOf(flags);
  const name = modelName(flags);
  const size = modelSize(name);
  const given = {
    hiddenSize: flags["hidden-size"] ?? size.hiddenSize,
    depth: flags.depth ?? size.depth,
    numHeads: flags["num-heads"] ?? size.numHeads,
    patchSize: flags["patch-size"] ?? size.patchSize,
  };
  const numClasses = flags["num-classes"] ?? data.classNames.length;
  if (numClasses < data.classNames.length) {
    throw new UsageError(
      `--num-classes: expected ${data.classNames.length} or more, the classes of ` +
        `${basename(settings.data)}, but got ${numClasses}`,
    );
  }
  if (data.side % given.patchSize !== 0) {
    throw new UsageError(
      `--patch-size: expected a divisor of ${data.side}, the side of what the model sees, but got ` +
        `${given.patchSize}; change it or --image-size`,
    );
  }
  if (given.hiddenSize % given.numHeads !== 0 || given.hiddenSize % 4 !== 0) {
    throw new UsageError(
      `--hidden-size: expected a multiple of 4 and of --num-heads ${given.numHeads} but got ` +
        `${given.hiddenSize}`,
    );
  }
  const mlpRatio = flags["mlp-ratio"] ?? TRAIN_FLAGS["mlp-ratio"].defaults[preset];
  if (Math.floor(given.hiddenSize * mlpRatio) < 1) {
    throw new UsageError(
      `--mlp-ratio: expected ${1 / given.hiddenSize} or more, for tokens of a width of ` +
        `${given.hiddenSize}, but got ${mlpRatio}`,
    );
  }
  const switches = switchesFrom(flags);
  const { earlyHead = 0 } = switches;
  if (earlyHead >= given.depth) {
    throw new UsageError(
      `--early-head: expected fewer than the ${given.depth} blocks of the model but got ${earlyHead}`,
    );
  }
  if (switches.rope && given.hiddenSize / given.numHeads % 4 !== 0) {
    throw new UsageError(
      `--rope: expected heads of a multiple of 4 numbers but got --hidden-size ` +
        `${given.hiddenSize} and --num-heads ${given.numHeads}`,
    );
  }
  if (switches.qkNorm && given.hiddenSize === given.numHeads) {
    throw new UsageError(
      `--qk-norm: expected heads of several numbers, of which one is left to norm to, but got ` +
        `--hidden-size ${given.hiddenSize} and --num-heads ${given.numHeads}`,
    );
  }
  const { bottleneck = 0 } = switches;
  const ofPatch = data.channels * given.patchSize ** 2;
  const widest = Math.max(ofPatch, given.hiddenSize);
  if (bottleneck > widest) {
    throw new UsageError(
      `--bottleneck: expected ${widest} at most, between patches of ${ofPatch} numbers and tokens ` +
        `of ${given.hiddenSize}, but got ${bottleneck}`,
    );
  }
  // with one class there is nothing to leave out, and nothing that guidance could lead to
  const classDropoutProb = flags["class-dropout"] ?? (numClasses === 1 ? 0 : 0.1);
  const process = flags.process ?? TRAIN_FLAGS.process.defaults[preset];
  const timeShift = flags["time-shift"] ?? TRAIN_FLAGS["time-shift"].defaults[preset];
  const diffusion: DiffusionConfig = {
    process,
    objective: flags.objective ?? usualObjective(process) ??
      TRAIN_FLAGS.objective.defaults[preset],
    noiseSchedule: flags["noise-schedule"] ?? TRAIN_FLAGS["noise-schedule"].defaults[preset],
    diffusionSteps: flags["diffusion-steps"] ?? TRAIN_FLAGS["diffusion-steps"].defaults[preset],
    minSnrGamma: flags["min-snr"] ?? TRAIN_FLAGS["min-snr"].defaults[preset],
    ...(takes(process, "timeShift") ? { timeShift } : {}),
  };
  const config: ModelConfig = {
    name,
    dit: {
      ...given,
      inputSize: data.side,
      inChannels: data.channels,
      mlpRatio,
      classDropoutProb,
      numClasses,
      learnSigma: flags["learn-sigma"] ??
        (takes(process, "learnSigma") && TRAIN_FLAGS["learn-sigma"].defaults[preset]),
      ...switches,
    },
    diffusion,
    latents: data.latents,
    classNames: data.classNames,
    nullClass: classDropoutProb > 0 ? numClasses : null,
  };
  checkProcess(config);
  checkGuidance(flags, config, settings);
  if (settings.balance && data.classNames.length < 2) {
    throw new UsageError(
      `--balance: expected data of several classes but ${basename(settings.data)} has one`,
    );
  }
  checkFitsProcess(processOfFlags(config), settings);
  checkPreviewLength(flags, config);
  return config;
}

/** Refuses guidance of models that have none, in training and of its samples. */
function checkGuidance(
  flags: TrainFlags,
  { dit, nullClass }: ModelConfig,
  { modelGuidance, data }: TrainSettings,
): void {
  const refuse = (why: string, flag = "model-guidance") => {
    throw new UsageError(`--${flag}: expected ${why}; leave one of them out`);
  };
  const isGuided = (flags["cfg-scale"] ?? 1) !== 1;
  if (nullClass === null && (modelGuidance > 0 || isGuided)) {
    const flag = modelGuidance > 0 ? "model-guidance" : "cfg-scale";
    const why = flags["class-dropout"] === undefined
      ? `${basename(data)} has one class`
      : "got --class-dropout 0";
    refuse(`a model with a null class, which guidance needs, but ${why}`, flag);
  }
  if (modelGuidance === 0) return;
  if (dit.classDropoutProb === 1) {
    refuse("a model that sees classes but got --class-dropout 1");
  }
  if (dit.learnSigma) refuse("a model that does not learn the variance but got --learn-sigma");
  if (dit.earlyHead) refuse("a model with one head but got --early-head");
}

/** The switches of the model that are not as in the paper, which are the ones a checkpoint keeps. */
function switchesFrom(flags: TrainFlags): DiTSwitches {
  const given: DiTSwitches = {
    norm: flags.norm ?? DIT_DEFAULTS.norm,
    mlp: flags.mlp ?? DIT_DEFAULTS.mlp,
    rope: flags.rope ?? DIT_DEFAULTS.rope,
    qkNorm: flags["qk-norm"] ?? DIT_DEFAULTS.qkNorm,
    conditioning: flags.conditioning ?? DIT_DEFAULTS.conditioning,
    bottleneck: flags.bottleneck ?? DIT_DEFAULTS.bottleneck,
    earlyHead: flags["early-head"] ?? DIT_DEFAULTS.earlyHead,
  };
  const changed = DIT_SWITCHES.filter((name) => given[name] !== DIT_DEFAULTS[name]);
  return Object.fromEntries(changed.map((name) => [name, given[name]]));
}
