/** Trains the page's model: the steps of `deno task train`, one after the other, as events. */
import { backward, concat, detach, reshape } from "@dit/core/autograd";
import { stepRange } from "@dit/core/diffusion";
import { BytesSink, type HostTensor, hostTensor } from "@dit/core/io";
import { AdamW, ADAMW_BETAS, Ema, GradScaler, type Schedule } from "@dit/core/nn";
import {
  averagesOf,
  buildModel,
  type Denoising,
  denoisingLoss,
  DIT,
  ImageSampler,
  learningRates,
  TRAINING_STREAMS,
  trainingGenerators,
  updateWeights,
  writeWeights,
} from "@dit/core/pipeline";
import {
  currentDevice,
  Generator,
  outsideScopes,
  scope,
  type Tensor,
  tensor,
} from "@dit/core/tensor";
import { BatchSampler, type Dataset, type Examples, Loader } from "@dit/data";
import { describeModel } from "./model_info.ts";
import type { ModelInfo, Picture } from "./protocol.ts";
import { samplePictures } from "./sampling.ts";
import type { TrainingEvent, TrainingRequest } from "./trainer.ts";
import type { TrainingPlan, TrainingSettings } from "./training_data.ts";

/** What the model that a page trained is called in requests. */
export const TRAINED_MODEL = "trained-here";

/** Pictures that are sampled of each class, of so many classes at most. */
const EACH = 2, MOST_CLASSES = 10;

/** Milliseconds between two looks at the losses, each of which waits for the device. */
const LOOK_EVERY = 250;

/** What a training is told from outside while it runs. */
export interface TrainingSignals {
  /** Whether it shall end after the step that it is at. */
  readonly isStopped: () => boolean;
}

/**
 * Trains on the current device, to the last step or until it is stopped.
 *
 * @param onEvent Told of all that happens, `loading` apart.
 * @throws {Error} with a message for people.
 */
export async function trainModel(
  plan: Pick<TrainingPlan, "config" | "settings">,
  dataset: Dataset,
  request: TrainingRequest,
  onEvent: (event: TrainingEvent) => void,
  { isStopped }: TrainingSignals,
): Promise<void> {
  const { steps, batchSize, learningRate: lr, seed, sampleEvery } = request;
  const warmup = Math.min(plan.settings.warmup, Math.floor(steps / 10));
  const settings = { ...plan.settings, steps, batchSize, lr, seed, sampleEvery, warmup };
  using training = new ModelTraining(plan.config, settings);
  const { flippable, size } = dataset;
  const sampler = new BatchSampler({ size, batchSize, seed, flip: settings.flip && flippable });
  await using loader = new Loader(dataset, sampler);
  const losses = new Losses(onEvent);
  while (training.step < steps && !isStopped()) {
    const batch = await loader.next();
    losses.begin();
    losses.add(training.step + 1, training.takeStep(batch));
    await currentDevice().backend.ready();
    await losses.look(training.step === steps);
    const isLast = training.step === steps;
    if (sampleEvery > 0 && (isLast || training.step % sampleEvery === 0)) {
      await losses.look(true);
      onEvent({ kind: "samples", step: training.step, ...await training.draw() });
    }
    await new Promise((resolve) => setTimeout(resolve)); // messages are seen to meanwhile
  }
  await losses.look(true);
  const { model, weights } = await training.result();
  const { name, backend } = currentDevice();
  onEvent({
    kind: "done",
    step: training.step,
    seconds: losses.seconds,
    device: `${name} (${backend.description}), in this browser`,
    model,
    weights,
  });
}

/** A model in training on the current device. */
export class ModelTraining implements Disposable {
  step = 0;
  readonly #config: TrainingPlan["config"];
  readonly #settings: TrainingSettings;
  readonly #denoising: Denoising;
  readonly #optimizer: AdamW;
  readonly #ema: Ema;
  readonly #scaler: GradScaler;
  readonly #schedule: Schedule;
  readonly #sampler: ImageSampler;

  /** Fresh weights and a fresh optimiser. */
  constructor(config: TrainingPlan["config"], settings: TrainingSettings) {
    const { seed, lr, beta2, weightDecay, emaDecay, emaWarmup, mixedPrecision } = settings;
    const generator = new Generator(seed, TRAINING_STREAMS.weights);
    const { model, process } = buildModel(config, { generator });
    const { timestepSampler, timeMean: mean, timeScale: scale } = settings;
    const timesteps = process.timestepSampler(timestepSampler, { mean, scale });
    const generators = trainingGenerators(seed);
    [this.#config, this.#settings] = [config, settings];
    this.#denoising = { model, process, timesteps, generators, mixedPrecision };
    this.#optimizer = new AdamW(model.namedParameters(), {
      lr,
      weightDecay,
      betas: [ADAMW_BETAS[0], beta2],
    });
    this.#ema = new Ema(model, { ...averagesOf(emaDecay)[0]!.options, warmup: emaWarmup });
    this.#scaler = new GradScaler({ enabled: mixedPrecision === "fp16" });
    this.#schedule = learningRates(settings, settings.steps);
    this.#sampler = new ImageSampler(config, { model, process }, null);
  }

  /**
   * One step of AdamW on a batch.
   *
   * @returns the mean loss, a scalar on the device, which the caller disposes of
   */
  takeStep({ images, labels, shape }: Examples): Tensor {
    using _ = scope("training step");
    const y = tensor(labels, [labels.length], { dtype: "i32" });
    const { loss } = denoisingLoss(this.#denoising, tensor(images, [...shape]), y);
    backward(this.#scaler.scale(loss));
    const lr = this.#settings.lr * this.#schedule(this.step);
    const [optimizer, scaler, ema] = [this.#optimizer, this.#scaler, this.#ema];
    updateWeights({ optimizer, scaler, ema }, lr, this.#settings.gradClip);
    this.step++;
    const detached = detach(loss);
    return outsideScopes(() => reshape(detached, [1]));
  }

  /** Samples by the averaged weights, a column a class. */
  async draw(): Promise<{ pictures: readonly Picture[]; labels: readonly number[] }> {
    const { sampleSampler: sampler, sampleSteps, cfgScale: guidance } = this.#settings;
    const { least, most } = stepRange(this.#denoising.process, sampler);
    const columns = Math.min(MOST_CLASSES, this.#config.dit.numClasses);
    const labels = Array.from({ length: EACH * columns }, (_, i) => i % columns);
    const request = {
      model: TRAINED_MODEL,
      pictures: labels.map((label, seed) => ({ label, seed })),
      sampler,
      steps: Math.min(Math.max(sampleSteps, least), most),
      eta: 0,
      guidance,
      interval: null,
    };
    const never = { signal: { aborted: false }, onStep() {}, wantsPreview: () => false };
    const pictures = await this.#ema.swapped(() => samplePictures(this.#sampler, request, never));
    return { pictures, labels };
  }

  /** The averaged weights as f16, as a file that can be sampled from, and what it is. */
  async result(): Promise<{ model: ModelInfo; weights: Blob }> {
    using _ = scope("trained weights");
    const { step } = this;
    const weights = new Map<string, HostTensor>();
    let parameters = 0;
    for (const [name, t] of this.#ema.stateDict()) {
      weights.set(name, hostTensor(new Float16Array(await t.data()), t.shape));
      parameters += t.size;
    }
    const sink = new BytesSink();
    await writeWeights(sink, { trainee: DIT.trainee, step, config: this.#config }, weights);
    const bytes = sink.bytes();
    const model = describeModel(this.#config, {
      id: TRAINED_MODEL,
      title: `${this.#config.name}, trained here, step ${step.toLocaleString("en")}`,
      parameters,
      bytes: bytes.length,
      guidance: this.#settings.cfgScale,
    });
    return { model, weights: new Blob([bytes]) };
  }

  /** Frees the weights and all that goes with them. */
  [Symbol.dispose](): void {
    this.#scaler.dispose();
    this.#ema.dispose();
    this.#optimizer.dispose();
    this.#sampler[Symbol.dispose]();
  }
}

/** Losses that are left on the device for a while, since to look at one is to wait for it. */
class Losses {
  /** Of training so far, samples apart. */
  seconds = 0;
  readonly #onEvent: (event: TrainingEvent) => void;
  #kept: { step: number; loss: Tensor }[] = [];
  #begun = 0;
  #looked = -Infinity;

  constructor(onEvent: (event: TrainingEvent) => void) {
    this.#onEvent = onEvent;
  }

  /** A step begins. */
  begin(): void {
    this.#begun = performance.now();
  }

  add(step: number, loss: Tensor): void {
    this.#kept.push({ step, loss });
  }

  /** Tells of the steps that were taken since the last look, where it is time or has to be. */
  async look(now: boolean): Promise<void> {
    const isTime = performance.now() - this.#looked >= LOOK_EVERY;
    const kept = now || isTime ? this.#kept.splice(0) : [];
    const values = kept.length === 0 ? [] : await read(kept.map(({ loss }) => loss));
    if (this.#begun > 0) this.seconds += (performance.now() - this.#begun) / 1000;
    this.#begun = 0;
    if (kept.length === 0) return;
    this.#looked = performance.now();
    kept.forEach(({ step }, i) => {
      const loss = values[i]!;
      if (!Number.isFinite(loss)) {
        throw new Error(
          `after step ${step} the loss is no finite number; a smaller learning rate may help`,
        );
      }
      this.#onEvent({ kind: "step", step, loss, seconds: this.seconds });
    });
  }
}

/** Scalars, read together, and freed. */
async function read(scalars: readonly Tensor[]): Promise<ArrayLike<number>> {
  using _ = scope("losses");
  try {
    return await concat([...scalars], 0).data();
  } finally {
    for (const scalar of scalars) scalar.dispose();
  }
}
