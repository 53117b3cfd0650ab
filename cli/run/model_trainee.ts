/** A trainee that is one model with one loss: AdamW on it, scaled losses, an average of the weights. */
import { backward, type GradientHook, mul } from "@dit/core/autograd";
import {
  AdamW,
  ADAMW_BETAS,
  countNonFinite,
  Ema,
  GradientBuckets,
  GradScaler,
  type Module,
  type Schedule,
} from "@dit/core/nn";
import { averagesOf, type Fields, sectionOf, updateWeights } from "@dit/core/pipeline";
import { type Generator, scope, type Share, type Tensor } from "@dit/core/tensor";
import type { Examples } from "@dit/data";
import { ALONE, type World } from "../distributed/world.ts";
import { type BatchPart, splitBatch } from "./batch_parts.ts";
import type { Evaluation } from "./evaluation.ts";
import type { RunFolder } from "./folder.ts";
import { type Scaled, StepRecords } from "./records.ts";
import type { RunSettings, Stateful, Streams, Trainee, TraineeKind } from "./trainee.ts";

/** Settings of its optimisation. */
export interface ModelSettings extends RunSettings {
  /** Learning rate at its highest. */
  readonly lr: number;
  /** Weight decay of AdamW. */
  readonly weightDecay: number;
  /** Decay of squared gradients; AdamW's default where it is left out. */
  readonly beta2?: number;
  /** Decay of the averaged weights, or those of several: see `averagesOf()`. */
  readonly emaDecay: number | string;
  /** Limit of the gradient's norm; 0 for none. */
  readonly gradClip: number;
  /** Whether products and activations are half precision. */
  readonly mixedPrecision: "no" | "fp16";
}

/** What a part of a batch came to. */
export interface PartLoss {
  /** What gradients are taken of: a mean over the part. */
  readonly loss: Tensor;
  /** What is recorded as the loss, where that is something else. */
  readonly shown?: Tensor;
  /** What else is recorded, by name: means over the part. */
  readonly others?: Readonly<Record<string, Tensor>>;
}

/** What it is made of. */
export interface ModelParts<Model extends Module> {
  readonly model: Model;
  /** Factor of the learning rate by steps taken. */
  readonly schedule: Schedule;
  /** Whether the decay of the average starts low. */
  readonly emaWarmup: boolean;
  /** Random streams that steps draw from, by purpose: this rank's share of them. */
  readonly generators: Readonly<Record<string, Generator>>;
  /** The ranks that share every batch; none but this one by default. */
  readonly world?: World | undefined;
  /** Bytes of gradients that the ranks combine at a time. */
  readonly bucketBytes?: number | undefined;
  /** Factor of the learning rate of a weight, by its name; 1 for all without it. */
  readonly lrScale?: ((name: string) => number) | null;
}

/** This rank's share of what is drawn for a batch. */
export function shareOf({ rank, size }: World = ALONE): Share {
  return { index: rank, of: size };
}

/** One model with one loss. */
export abstract class ModelTrainee<Settings extends ModelSettings, Model extends Module>
  implements Trainee {
  abstract readonly kind: TraineeKind;
  abstract readonly name: string;
  abstract readonly config: object;
  readonly caption: string = "";
  step = 0;
  readonly settings: Settings;
  readonly model: Model;
  readonly optimizer: AdamW;
  /** The usual average: the first one. */
  readonly ema: Ema;
  /** All averages, by the sections of checkpoints. */
  readonly #averages: Readonly<Record<string, Ema>>;
  readonly scaler: GradScaler;
  readonly records: StepRecords;
  readonly world: World;
  /** Where ranks combine their gradients; null for a world of one. */
  readonly #buckets: GradientBuckets | null;
  readonly #schedule: Schedule;
  readonly #generators: Readonly<Record<string, Generator>>;
  #isSound = true;

  /** Takes over the model. */
  constructor(settings: Settings, parts: ModelParts<Model>) {
    const { model, schedule, emaWarmup, generators, world = ALONE, bucketBytes, lrScale } = parts;
    const { lr, weightDecay, beta2 = ADAMW_BETAS[1], emaDecay, mixedPrecision } = settings;
    this.settings = settings;
    this.model = model;
    this.optimizer = new AdamW(model.namedParameters(), {
      lr,
      weightDecay,
      betas: [ADAMW_BETAS[0], beta2],
      ...(lrScale ? { lrScale } : {}),
    });
    this.#averages = Object.fromEntries(
      averagesOf(emaDecay).map((average, i) => [
        sectionOf(average, i),
        new Ema(model, { ...average.options, warmup: emaWarmup }),
      ]),
    );
    this.ema = this.#averages["ema"]!;
    this.scaler = new GradScaler({ enabled: mixedPrecision === "fp16" });
    this.records = new StepRecords(world);
    this.world = world;
    this.#buckets = world.size === 1 ? null : new GradientBuckets(
      this.optimizer,
      (values) => world.allReduce(values),
      bucketBytes === undefined ? {} : { bytes: bucketBytes },
    );
    this.#schedule = schedule;
    this.#generators = generators;
  }

  /** The loss of a part of a batch; autograd records it. */
  protected abstract loss(part: BatchPart): PartLoss;
  abstract draw(): Promise<Uint8Array<ArrayBuffer> | null>;
  abstract finish(folder: RunFolder): Promise<string[]>;

  /** The learning rate of the next step. */
  get lr(): number {
    return this.settings.lr * this.#schedule(this.step);
  }

  get isSound(): boolean {
    return this.#isSound;
  }

  /** One step of AdamW on a batch, whose gradients are added up part by part, then over all ranks. */
  async takeStep(batch: Examples): Promise<void> {
    const buckets = this.#buckets;
    if (!buckets) {
      using _ = scope("training step");
      this.#computeGradients(batch);
      this.#update();
      return;
    }
    { // scopes must not span an await
      using _ = scope("gradients of a step");
      this.#computeGradients(batch);
    }
    await buckets.finish();
    using _ = scope("update of a step");
    this.#update();
  }

  #computeGradients(batch: Examples): void {
    let left = this.settings.gradAccum;
    for (const part of splitBatch(batch, left)) {
      this.#addGradients(part, --left === 0 ? this.#buckets?.begin() : undefined);
    }
  }

  /** Moves the weights by the gradients. */
  #update(): void {
    const { records, settings, lr } = this;
    this.#isSound = false; // until all of it has moved on
    const norm = updateWeights(this, lr, settings.gradClip);
    for (const average of Object.values(this.#averages)) {
      if (average !== this.ema) average.update();
    }
    this.step++;
    this.#isSound = true;
    records.endStep(this.step, norm, lr);
  }

  /**
   * Adds the gradients of a part of a batch, and its share of what is recorded. Its loss.
   *
   * Shares are of the means over all parts and ranks. A rank scales its loss down rather than its
   * gradients, so that those of a sample are the same numbers however many ranks there are, in half
   * precision too.
   */
  #addGradients(part: BatchPart, onGradient?: GradientHook): Tensor {
    using s = scope("gradients");
    const share = (t: Tensor) => mul(t, 1 / (this.settings.gradAccum * this.world.size));
    const { loss, shown = loss, others = {} } = this.loss(part);
    const shared = Object.entries(others).map(([name, t]) => [name, share(t)] as const);
    this.records.addLoss(share(shown), Object.fromEntries(shared));
    backward(this.scaler.scale(share(loss)), undefined, onGradient ? { onGradient } : {});
    return s.keep(loss);
  }

  async afterStep(): Promise<void> {}

  /** Nothing, of a trainee whose samples are not evaluated. */
  evaluate(_stopping: () => boolean): Promise<Evaluation | null> {
    return Promise.resolve(null);
  }

  abandonStep(streams: Streams): void {
    this.optimizer.zeroGrad();
    this.records.abandonStep();
    this.seek(streams);
  }

  async lossScale(): Promise<Scaled | null> {
    if (this.settings.mixedPrecision === "no") return null;
    const { scale, skipped } = await this.scaler.state();
    return { scale, skipped };
  }

  /**
   * The first tensor of a step that is not finite, in the order in which they are computed: the
   * batch, a weight, the loss, a gradient. The step is computed again from the weights as they are,
   * which a step with a NaN among its gradients leaves alone.
   */
  async findNonFinite(batch: Examples): Promise<string | null> {
    if (!batch.images.every(Number.isFinite)) return "the batch";
    using _ = scope("diagnosis");
    const isBad = async (t: Tensor): Promise<boolean> => await countNonFinite([t]).item() > 0;
    for (const [name, p] of this.model.namedParameters()) {
      if (await isBad(p)) return `the weight ${name}`;
    }
    for (const part of splitBatch(batch, this.settings.gradAccum)) {
      if (await isBad(this.#addGradients(part))) return "the loss";
    }
    // backward reaches the last layers first
    for (const [name, p] of [...this.model.namedParameters()].toReversed()) {
      if (p.grad && await isBad(p.grad)) return `the gradient of ${name}`;
    }
    return null;
  }

  streams(): Streams {
    return Object.fromEntries(
      Object.entries(this.#generators).map(([name, generator]) => [name, generator.state()]),
    );
  }

  seek(streams: Streams): void {
    for (const [name, generator] of Object.entries(this.#generators)) {
      generator.seek(streams[name]!.offset);
    }
  }

  sections(): Readonly<Record<string, Stateful>> {
    const { model, optimizer, scaler } = this;
    return { model, ...this.#averages, optimizer, scaler };
  }

  // deno-lint-ignore require-await -- a trainee with more to tell may wait for the device
  async state(): Promise<Readonly<Record<string, unknown>>> {
    return { generators: this.streams(), emaUpdates: this.ema.step };
  }

  restore(state: Fields): void {
    const streams = state.fields("generators");
    for (const [name, generator] of Object.entries(this.#generators)) {
      generator.seek(streams.fields(name).integer("offset"));
    }
    const updates = state.integer("emaUpdates");
    for (const average of Object.values(this.#averages)) average.step = updates;
  }

  /** Begins anew with the weights that the model has. */
  restartAverages(): void {
    for (const average of Object.values(this.#averages)) {
      using _ = scope("averages");
      average.loadStateDict(this.model.stateDict());
    }
  }

  /** Runs `task` with the averaged weights in the model, as it is used. */
  async averaged<T>(task: () => Promise<T>): Promise<T> {
    this.model.eval();
    try {
      return await this.ema.swapped(task);
    } finally {
      this.model.train();
    }
  }

  /** Frees the weights and all that goes with them. */
  [Symbol.dispose](): void {
    this.records.dispose();
    this.scaler.dispose();
    for (const average of Object.values(this.#averages)) average.dispose();
    this.optimizer.dispose();
    this.model.dispose();
  }
}
