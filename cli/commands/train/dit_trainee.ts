/** What `deno task train` trains: a Diffusion Transformer, by the losses of its process. */
import type { Process, TimestepSampler, TimestepSamplerState } from "@dit/core/diffusion";
import type { DiT } from "@dit/core/dit";
import { hostTensor } from "@dit/core/io";
import {
  buildModel,
  denoisingLoss,
  DIT,
  Fields,
  ImageSampler,
  learningRates,
  type ModelConfig,
  TRAINING_STREAMS,
  type TrainingGenerators,
  trainingGenerators,
  type TransferRow,
  transferWeights,
} from "@dit/core/pipeline";
import { currentDevice, Generator, scope } from "@dit/core/tensor";
import type { AutoencoderKL } from "@dit/core/vae";
import type { World } from "../../distributed/world.ts";
import type { BatchPart } from "../../run/batch_parts.ts";
import { writeCheckpoint } from "../../run/checkpoint.ts";
import type { Evaluation } from "../../run/evaluation.ts";
import type { RunFolder } from "../../run/folder.ts";
import { ModelTrainee, type PartLoss, shareOf } from "../../run/model_trainee.ts";
import type { PendingFeedback } from "../../run/records.ts";
import { COMMON_CURVES } from "../../run/report.ts";
import type { TraineeKind } from "../../run/trainee.ts";
import type { Weights } from "../../model/weights.ts";
import { CommandError } from "../../shared/errors.ts";
import { shownClasses } from "../../shared/classes.ts";
import { shellWord } from "../../shared/shell.ts";
import type { TrainingEvaluation } from "./evaluation.ts";
import { freeze, rateScale } from "./initial.ts";
import type { ModelInput } from "./open_data.ts";
import { drawGrid, writeSamples } from "./preview.ts";
import type { TrainSettings } from "./settings.ts";

/** How its runs look. */
export const DIT_KIND: TraineeKind<ModelConfig> = {
  ...DIT,
  names: { description: "config.json", pictures: "samples" },
  pictures: "Samples",
  curves: [
    {
      title: "Loss",
      unit: "mean squared error",
      value: ({ loss }) => loss,
      logarithmic: true,
      smooth: true,
    },
    ...COMMON_CURVES,
  ],
  figures: ({ loss }) => `loss ${loss.toFixed(4)}`,
};

/** Steps between two updates of a timestep sampler, each one read from the device. */
const FEEDBACK_EVERY = 10;

/** What a model is trained with, beside its settings. */
export interface DiTParts {
  /** Of the whole run. */
  readonly steps: number;
  /** Where the model sees something else than the images. */
  readonly input?: ModelInput | undefined;
  /** Makes pictures of the latents of samples; there are none without it. */
  readonly decoder?: AutoencoderKL | null;
  /** Compares samples with the data, where that is asked for. */
  readonly evaluation?: TrainingEvaluation | null;
  /** A file for the averaged weights as f16, at the end. */
  readonly exportTo?: string | undefined;
  /** The ranks that share every batch; none but this one by default. */
  readonly world?: World | undefined;
  /** Bytes of gradients that they combine at a time. */
  readonly bucketBytes?: number | undefined;
}

/** A Diffusion Transformer in training. */
export class DiTTrainee extends ModelTrainee<TrainSettings, DiT> {
  readonly kind = DIT_KIND;
  readonly config: ModelConfig;
  readonly process: Process;
  readonly timesteps: TimestepSampler;
  override readonly caption: string;
  /** Numbers among its weights that are not trained, though they could be. */
  readonly frozen: number;
  readonly #parts: DiTParts;
  /** Null where there is nothing to make images of the model's latents with. */
  readonly #imageSampler: ImageSampler | null;
  readonly #generators: TrainingGenerators;

  /** Fresh weights and a fresh optimiser on the current device. */
  constructor(config: ModelConfig, settings: TrainSettings, parts: DiTParts) {
    const { seed, emaWarmup } = settings;
    const generator = new Generator(seed, TRAINING_STREAMS.weights);
    const { model, process } = buildModel(config, { generator });
    model.gradientCheckpointing = settings.gradCheckpoint;
    // Ranks of processors combine gradients while others are computed, which come all at once from a
    // record. Of GPUs, the host gets none before it has handed over all of backward.
    const isAlone = (parts.world?.size ?? 1) === 1;
    model.isCaptured = isAlone || currentDevice().backend.hostView === undefined;
    const frozen = freeze(model, settings.freeze);
    const lrScale = rateScale(model, settings.lrScale);
    const { steps, world, bucketBytes } = parts;
    const generators = trainingGenerators(seed, shareOf(world));
    const schedule = learningRates(settings, steps);
    super(settings, { model, schedule, emaWarmup, generators, world, bucketBytes, lrScale });
    this.frozen = frozen;
    this.config = config;
    this.process = process;
    const { timestepSampler, timeMean: mean, timeScale: scale } = settings;
    this.timesteps = process.timestepSampler(timestepSampler, { mean, scale });
    this.#generators = generators;
    this.#parts = parts;
    const { decoder = null } = parts;
    const isBlind = config.latents !== null && decoder === null;
    this.#imageSampler = isBlind ? null : new ImageSampler(config, { model, process }, decoder);
    const columns = shownClasses(config.dit.numClasses);
    this.caption = `One column a class: ${
      columns.map((c) => config.classNames[c] ?? c).join(", ")
    }.`;
  }

  /**
   * Begins with the weights of another model, as far as they fit.
   *
   * @throws {CommandError} where it is of another family.
   */
  async begin(from: Weights): Promise<TransferRow[]> {
    try {
      const rows = await transferWeights(this.model, this.config, from);
      this.restartAverages();
      return rows;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new CommandError(`--init: ${error.message}`, { cause: error });
    }
  }

  /** Such as `DiT-Mini/4`. */
  get name(): string {
    return this.config.name;
  }

  /**
   * The loss of denoising images, or the latents of them.
   *
   * @param part `images` [n, C, S, S]
   */
  protected loss({ images, labels }: BatchPart): PartLoss {
    const { mixedPrecision, modelGuidance } = this.settings;
    const { input } = this.#parts;
    const xStart = input ? input(images, this.#generators.noise) : images;
    const { loss, each, timesteps } = denoisingLoss(
      {
        model: this.model,
        process: this.process,
        timesteps: this.timesteps,
        generators: this.#generators,
        mixedPrecision,
        modelGuidance,
      },
      xStart,
      labels,
    );
    if (this.timesteps.learns) this.records.addFeedback(timesteps, each);
    return { loss };
  }

  /** Updates the timestep sampler with the losses since the last update. */
  override async afterStep(): Promise<void> {
    if (!this.timesteps.learns || this.step % FEEDBACK_EVERY !== 0) return;
    for (const { timesteps, losses } of await this.records.takeFeedback()) {
      this.timesteps.update(timesteps, losses);
    }
  }

  override async state(): Promise<Readonly<Record<string, unknown>>> {
    return {
      ...await super.state(),
      timesteps: this.timesteps.state(),
      pendingFeedback: await this.records.peekFeedback(),
    };
  }

  override restore(state: Fields): void {
    super.restore(state);
    const timesteps = state.fields("timesteps");
    timesteps.text("name");
    if (timesteps.has("history")) timesteps.list("history");
    this.timesteps.load(timesteps.values as unknown as TimestepSamplerState);
    const feedback = state.list("pendingFeedback").map((each): PendingFeedback => {
      const fields = new Fields(each, `${state.at}pendingFeedback.`);
      return { timesteps: fields.numbers("timesteps"), losses: fields.numbers("losses") };
    });
    this.records.putFeedback(feedback);
  }

  override async evaluate(stopping: () => boolean): Promise<Evaluation | null> {
    const { evaluation } = this.#parts;
    return evaluation && this.#imageSampler
      ? await evaluation.measure(this, this.#imageSampler, stopping)
      : null;
  }

  /** A grid of samples, a column a class. */
  async draw(): Promise<Uint8Array<ArrayBuffer> | null> {
    return this.#imageSampler && await drawGrid(this, this.#imageSampler);
  }

  /** Writes samples for an evaluation, and the weights to sample from, where they are asked for. */
  async finish(folder: RunFolder): Promise<string[]> {
    const lines: string[] = [];
    const { finalSamples } = this.settings;
    if (finalSamples > 0 && this.#imageSampler) {
      const path = folder.file(FINAL_SAMPLES);
      await writeSamples(path, this, this.#imageSampler, finalSamples);
      lines.push(`samples, ${finalSamples} a class: ${path}`);
    }
    const { exportTo } = this.#parts;
    if (exportTo !== undefined) {
      await this.#exportWeights(exportTo);
      lines.push(`weights to sample from: ${exportTo}`);
    }
    return [...lines, `sample from it with: deno task sample --ckpt ${shellWord(folder.path)}`];
  }

  /** The averaged weights alone, as f16: small, and enough to sample from. */
  async #exportWeights(path: string): Promise<void> {
    using _ = scope("export");
    const weights = new Map();
    for (const [name, t] of this.ema.stateDict()) {
      weights.set(name, hostTensor(new Float16Array(await t.data()), t.shape));
    }
    const { kind: { trainee }, step, config } = this;
    const { cfgScale: guidance } = this.settings;
    const header = { trainee, step, config, training: null, guidance };
    await writeCheckpoint(path, header, { ema: weights });
  }
}

/** Samples for an evaluation, in a run's folder. */
export const FINAL_SAMPLES = "samples.npz";
