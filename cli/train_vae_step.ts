/** The training step of an autoencoder, and the state that it moves on. */
import { abs, add, backward, mean, mul, square, sub } from "@dit/core/autograd";
import {
  FormatError,
  SafetensorsFile,
  type SavableTensor,
  saveSafetensors,
  type StateElements,
  toDeviceArray,
} from "@dit/core/io";
import { AdamW, cosineSchedule, Ema, GradScaler, warmupSchedule } from "@dit/core/nn";
import { Generator, type GeneratorState, manualSeed, scope, tensor } from "@dit/core/tensor";
import { AutoencoderKL } from "@dit/core/vae";
import type { Examples, SamplerPosition } from "@dit/data";
import { CommandError, messageOf } from "./errors.ts";
import { StepRecords } from "./step_records.ts";
import type { VaeSettings } from "./train_vae_flags.ts";

const FORMAT = "dit autoencoder training";
/** Random stream of a run's seed that latents are sampled with; weights are drawn from stream 0. */
const NOISE_STREAM = 1;

/** What continues a run exactly, beside the tensors. */
export interface VaeState {
  /** Optimiser steps taken. */
  readonly step: number;
  readonly settings: VaeSettings;
  /** Where the next batch comes from. */
  readonly position: SamplerPosition;
  readonly noise: GeneratorState;
  /** Updates of the average so far. */
  readonly emaUpdates: number;
}

/** Everything that training moves on. */
export class VaeTraining implements Disposable {
  /** Optimiser steps taken. */
  step = 0;
  readonly settings: VaeSettings;
  readonly model: AutoencoderKL;
  readonly ema: Ema;
  /** What the steps were like, kept on the device until it is asked for. */
  readonly records: StepRecords = new StepRecords();
  readonly #optimizer: AdamW;
  readonly #scaler = new GradScaler({ enabled: false });
  readonly #noise: Generator;

  /** Fresh weights and a fresh optimiser on the current device. */
  constructor(settings: VaeSettings) {
    const { seed, channels, latentChannels, layers, normGroups, imageSize } = settings;
    this.settings = settings;
    manualSeed(seed);
    this.model = new AutoencoderKL({
      blockOutChannels: channels,
      latentChannels,
      layersPerBlock: layers,
      normNumGroups: normGroups,
      sampleSize: imageSize,
    });
    const { lr, weightDecay, emaDecay } = settings;
    this.#optimizer = new AdamW(this.model.namedParameters(), { lr, weightDecay });
    this.ema = new Ema(this.model, { decay: emaDecay, warmup: true });
    this.#noise = new Generator(seed, NOISE_STREAM);
  }

  /** The learning rate of the next step. */
  get lr(): number {
    const { lr, warmup, steps } = this.settings;
    return lr * warmupSchedule(warmup, cosineSchedule(Math.max(1, steps - warmup)))(this.step);
  }

  /**
   * One step on a batch: reconstruction + klWeight * divergence, as latent diffusion trains its
   * autoencoder (arXiv 2112.10752, appendix G) before there is a discriminator. Both are per value
   * of the image, so that the weight means the same for every size.
   */
  takeStep({ images, labels }: Examples): void {
    using _ = scope("training step");
    const { model, records, settings } = this;
    const { imageSize, loss, klWeight, gradClip } = settings;
    const [n, c] = [labels.length, model.options.inChannels];
    const x = tensor(images, [n, c, imageSize, imageSize]);
    const posterior = model.encode(x);
    const off = sub(model.decode(posterior.sample({ generator: this.#noise })), x);
    const reconstruction = mean(loss === "l1" ? abs(off) : square(off));
    const kl = mul(mean(posterior.kl()), 1 / (c * imageSize ** 2));
    backward(add(reconstruction, mul(kl, klWeight)));
    const { lr } = this;
    this.#optimizer.lr = lr;
    const norm = this.#scaler.step(this.#optimizer, {
      ...(gradClip > 0 ? { maxNorm: gradClip } : {}),
      skipNonFinite: true,
    });
    this.#optimizer.zeroGrad();
    this.ema.update();
    this.step++;
    records.addLoss(reconstruction);
    records.endStep(this.step, norm, lr);
  }

  /** Writes what continues the run; whole or not at all. */
  async save(path: string, position: SamplerPosition): Promise<void> {
    using _ = scope("checkpoint");
    const tensors = new Map<string, SavableTensor>();
    for (const [section, part] of Object.entries(this.#parts())) {
      for (const [name, t] of part.stateDict()) tensors.set(`${section}.${name}`, t);
    }
    const state: VaeState = {
      step: this.step,
      settings: this.settings,
      position,
      noise: this.#noise.state(),
      emaUpdates: this.ema.step,
    };
    try {
      await saveSafetensors(path, tensors, [["format", FORMAT], ["state", JSON.stringify(state)]]);
    } catch (error) {
      throw new CommandError(`could not write ${path}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Takes the tensors and random streams of a run with the same model. */
  async load(file: SafetensorsFile, state: VaeState): Promise<void> {
    using _ = scope("load");
    for (const [section, part] of Object.entries(this.#parts())) {
      const values = new Map<string, StateElements>();
      for (const key of file.keys()) {
        if (!key.startsWith(`${section}.`)) continue;
        const read = await file.read(key);
        const data = toDeviceArray(read);
        values.set(key.slice(section.length + 1), { shape: read.shape, data });
      }
      part.loadStateDict(values);
    }
    this.#noise.seek(state.noise.offset);
    this.ema.step = state.emaUpdates;
    this.step = state.step;
  }

  #parts() {
    return { model: this.model, ema: this.ema, optimizer: this.#optimizer };
  }

  /** Frees the weights and all that goes with them. */
  [Symbol.dispose](): void {
    this.records.dispose();
    this.#scaler.dispose();
    this.ema.dispose();
    this.#optimizer.dispose();
    this.model.dispose();
  }
}

/**
 * Opens what {@linkcode VaeTraining.save} wrote.
 *
 * @throws {CommandError} where it is missing, damaged or something else.
 */
export async function openVaeTraining(
  path: string,
): Promise<{ file: SafetensorsFile; state: VaeState }> {
  let file: SafetensorsFile;
  try {
    file = await SafetensorsFile.open(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new CommandError(`--resume: expected a run in --out but found no ${path}`);
    }
    if (error instanceof FormatError) throw new CommandError(`${path}: ${error.message}`);
    throw error;
  }
  if (file.metadata.get("format") !== FORMAT) {
    file.close();
    throw new CommandError(`${path}: expected a run of \`deno task train-vae\` to go on with`);
  }
  return { file, state: JSON.parse(file.metadata.get("state") ?? "{}") };
}
