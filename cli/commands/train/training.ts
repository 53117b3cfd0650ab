/** The training step, and the state that it moves on. */
import { autocast, backward, mean, mul } from "@dit/core/autograd";
import type { Process, TimestepSampler } from "@dit/core/diffusion";
import type { DiT } from "@dit/core/dit";
import {
  AdamW,
  constantSchedule,
  cosineSchedule,
  countNonFinite,
  Ema,
  GradScaler,
  type Schedule,
  warmupSchedule,
} from "@dit/core/nn";
import { Generator, scope, type Tensor, tensor } from "@dit/core/tensor";
import type { Examples, SamplerPosition } from "@dit/data";
import { type BatchPart, splitBatch } from "../../run/batch_parts.ts";
import type { Checkpoint, Sections, TrainingState } from "../../run/checkpoint.ts";
import { buildModel, type ModelConfig } from "../../model/config.ts";
import { StepRecords } from "../../run/records.ts";
import type { TrainSettings } from "./settings.ts";

/** Steps after which a timestep sampler is told of the losses since, in one read from the device. */
const FEEDBACK_EVERY = 10;

/** Random streams of a run's seed, one a purpose. */
const STREAMS = { weights: 0, noise: 1, labels: 2, timesteps: 3 } as const;

/** Makes what the model sees of a batch, on the device: the images themselves, or their latents. */
export type ModelInput = (images: Tensor, generator: Generator) => Tensor;

/** Everything that training moves on, and what it needs to do so. */
export class Training implements Disposable {
  /** Optimiser steps taken. */
  step = 0;
  readonly config: ModelConfig;
  readonly settings: TrainSettings;
  readonly model: DiT;
  readonly process: Process;
  readonly optimizer: AdamW;
  readonly ema: Ema;
  readonly scaler: GradScaler;
  readonly timesteps: TimestepSampler;
  /** What the steps were like, kept on the device until it is asked for. */
  readonly records: StepRecords = new StepRecords();
  readonly #schedule: Schedule;
  #generators: Record<"noise" | "labels" | "timesteps", Generator>;

  /**
   * Fresh weights and a fresh optimiser on the current device.
   *
   * @param steps Of the whole run.
   */
  constructor(config: ModelConfig, settings: TrainSettings, steps: number) {
    const { seed, lr, weightDecay, emaDecay, emaWarmup, mixedPrecision } = settings;
    this.config = config;
    this.settings = settings;
    const generator = new Generator(seed, STREAMS.weights);
    ({ model: this.model, process: this.process } = buildModel(config, { generator }));
    this.model.gradientCheckpointing = settings.gradCheckpoint;
    this.optimizer = new AdamW(this.model.namedParameters(), { lr, weightDecay });
    this.ema = new Ema(this.model, { decay: emaDecay, warmup: emaWarmup });
    this.scaler = new GradScaler({ enabled: mixedPrecision === "fp16" });
    this.timesteps = this.process.timestepSampler(settings.timestepSampler);
    this.#generators = {
      noise: new Generator(seed, STREAMS.noise),
      labels: new Generator(seed, STREAMS.labels),
      timesteps: new Generator(seed, STREAMS.timesteps),
    };
    this.#schedule = scheduleOf(settings, steps);
  }

  /** The learning rate of the next step. */
  get lr(): number {
    return this.settings.lr * this.#schedule(this.step);
  }

  /**
   * One step of AdamW on a batch (arXiv 2006.11239, algorithm 1). Nothing waits for the device.
   *
   * @param batch `images` [N, C, S, S]
   * @param input Where the model sees something else than the images.
   */
  takeStep(batch: Examples, input?: ModelInput): void {
    const { optimizer, scaler, ema, records, settings } = this;
    using _ = scope("training step");
    optimizer.lr = this.lr;
    for (const part of splitBatch(batch, settings.gradAccum)) {
      const { loss, each, timesteps } = this.#addGradients(part, input);
      records.addLoss(loss);
      if (settings.timestepSampler !== "uniform") records.addFeedback(timesteps, each);
    }
    const norm = scaler.step(optimizer, {
      ...(settings.gradClip > 0 ? { maxNorm: settings.gradClip } : {}),
      skipNonFinite: true, // so that the weights survive to tell what went wrong
    });
    optimizer.zeroGrad();
    ema.update();
    this.step++;
    records.endStep(this.step, norm, optimizer.lr);
  }

  /** Adds the gradients of a part of a batch: its share of the loss, and the loss of each image. */
  #addGradients(part: BatchPart, input?: ModelInput) {
    const { model, process, scaler } = this;
    const { mixedPrecision, gradAccum } = this.settings;
    const { noise, labels, timesteps: uniforms } = this.#generators;
    using s = scope("gradients");
    const xStart = input ? input(part.images, noise) : part.images; // [n, C, S, S]
    const { timesteps, weights } = this.timesteps.sample(part.count, uniforms);
    const { loss: each } = autocast(
      mixedPrecision === "fp16" ? "f16" : null,
      () =>
        process.trainingLosses(
          (x, t, { y }) => model.forward(x, t, y, { generator: labels }),
          xStart,
          timesteps,
          { modelKwargs: { y: part.labels }, generator: noise },
        ),
    ); // [n]
    const loss = mul(mean(mul(each, tensor(weights))), 1 / gradAccum);
    backward(scaler.scale(loss));
    s.keep([loss, each]);
    return { loss, each, timesteps };
  }

  /**
   * The first tensor of a step that is not finite, in the order in which they are computed: the
   * batch, a weight, the loss, a gradient. The step is computed again from the weights as they are,
   * which a step with a NaN among its gradients leaves alone.
   *
   * @param generators Where the random streams stood before the step.
   */
  async findNonFinite(
    batch: Examples,
    generators: TrainingState["generators"],
    input?: ModelInput,
  ): Promise<string> {
    if (!batch.images.every(Number.isFinite)) return "the batch";
    using _ = scope("diagnosis");
    const isBad = async (t: Tensor): Promise<boolean> => await countNonFinite([t]).item() > 0;
    for (const [name, p] of this.model.namedParameters()) {
      if (await isBad(p)) return `the weight ${name}`;
    }
    this.seek(generators);
    for (const part of splitBatch(batch, this.settings.gradAccum)) {
      const { loss } = this.#addGradients(part, input);
      if (await isBad(loss)) return "the loss";
    }
    // backward reaches the last layers first
    for (const [name, p] of [...this.model.namedParameters()].toReversed()) {
      if (p.grad && await isBad(p.grad)) return `the gradient of ${name}`;
    }
    return "the norm of the gradients";
  }

  /**
   * Tells the timestep sampler what it may know by now. Always at the same steps, whenever the run
   * is interrupted or looked at, so that no number depends on that.
   */
  async giveFeedback(): Promise<void> {
    if (this.settings.timestepSampler === "uniform" || this.step % FEEDBACK_EVERY !== 0) return;
    for (const { timesteps, losses } of await this.records.takeFeedback()) {
      this.timesteps.update(timesteps, losses);
    }
  }

  /** Where the random streams stand, to go back to. */
  generators(): TrainingState["generators"] {
    return Object.fromEntries(
      Object.entries(this.#generators).map(([name, g]) => [name, g.state()]),
    );
  }

  /** Puts the random streams where they stood. */
  seek(generators: TrainingState["generators"]): void {
    for (const [name, g] of Object.entries(this.#generators)) g.seek(generators[name]!.offset);
  }

  /** What a checkpoint holds beside tensors. */
  async state(position: SamplerPosition): Promise<TrainingState> {
    return {
      generators: this.generators(),
      position,
      timesteps: this.timesteps.state(),
      pendingFeedback: await this.records.peekFeedback(),
      emaUpdates: this.ema.step,
      settings: this.settings,
    };
  }

  /** The tensors of a checkpoint; views that belong to the scope that is open. */
  sections(): Sections {
    return {
      model: this.model.stateDict(),
      ema: this.ema.stateDict(),
      optimizer: this.optimizer.stateDict(),
      scaler: this.scaler.stateDict(),
    };
  }

  /** Continues from a checkpoint of the same configuration. */
  async load(checkpoint: Checkpoint, state: TrainingState): Promise<void> {
    using _ = scope("load");
    this.model.loadStateDict(await checkpoint.state("model"));
    this.ema.loadStateDict(await checkpoint.state("ema"));
    this.optimizer.loadStateDict(await checkpoint.state("optimizer"));
    this.scaler.loadStateDict(await checkpoint.state("scaler"));
    this.timesteps.load(state.timesteps);
    this.records.putFeedback(state.pendingFeedback);
    this.seek(state.generators);
    this.ema.step = state.emaUpdates;
    this.step = checkpoint.header.step;
  }

  /** Frees the weights and all that goes with them. */
  [Symbol.dispose](): void {
    this.records.dispose();
    this.scaler.dispose();
    this.ema.dispose();
    this.optimizer.dispose();
    this.model.dispose();
  }
}

function scheduleOf({ schedule, warmup }: TrainSettings, steps: number): Schedule {
  const after = schedule === "cosine"
    ? cosineSchedule(Math.max(1, steps - warmup))
    : constantSchedule();
  return warmupSchedule(warmup, after);
}
