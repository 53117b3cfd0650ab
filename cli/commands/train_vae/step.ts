/** The training step of an autoencoder, and the state that it moves on. */
import {
  abs,
  add,
  autocast,
  backward,
  cast,
  concat,
  mean,
  mul,
  square,
  sub,
} from "@dit/core/autograd";
import {
  FormatError,
  type HostTensor,
  SafetensorsFile,
  type SavableTensor,
  saveSafetensors,
} from "@dit/core/io";
import { AdamW, cosineSchedule, Ema, GradScaler, warmupSchedule } from "@dit/core/nn";
import { Generator, type GeneratorState, manualSeed, scope, type Tensor } from "@dit/core/tensor";
import { AutoencoderKL, DiagonalGaussian } from "@dit/core/vae";
import type { Examples, SamplerPosition } from "@dit/data";
import { type BatchPart, splitBatch } from "../../run/batch_parts.ts";
import { CommandError, messageOf } from "../../shared/errors.ts";
import { StepRecords } from "../../run/records.ts";
import type { VaeSettings } from "./flags.ts";

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
  /** Scales the loss, in mixed precision. */
  readonly scaler: GradScaler;
  readonly #optimizer: AdamW;
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
    const { lr, weightDecay, emaDecay, mixedPrecision } = settings;
    this.#optimizer = new AdamW(this.model.namedParameters(), { lr, weightDecay });
    this.ema = new Ema(this.model, { decay: emaDecay, warmup: true });
    this.scaler = new GradScaler({ enabled: mixedPrecision === "fp16" });
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
   * of the image, so that the weight means the same for every size. Nothing waits for the device.
   *
   * @param batch `images` [N, C, S, S]
   */
  takeStep(batch: Examples): void {
    using _ = scope("training step");
    const { records, settings, scaler, lr } = this;
    const { gradClip, gradAccum } = settings;
    this.#optimizer.lr = lr;
    for (const part of splitBatch(batch, gradAccum)) {
      const { reconstruction, kl } = this.#addGradients(part);
      records.addLoss(reconstruction, kl);
    }
    const norm = scaler.step(this.#optimizer, {
      ...(gradClip > 0 ? { maxNorm: gradClip } : {}),
      skipNonFinite: true,
    });
    this.#optimizer.zeroGrad();
    this.ema.update();
    this.step++;
    records.endStep(this.step, norm, lr);
  }

  /** Adds the gradients of a part of a batch. Its shares of the loss, and of nats a latent value. */
  #addGradients({ images: x }: BatchPart): { reconstruction: Tensor; kl: Tensor } {
    using s = scope("gradients");
    const { model, settings, scaler } = this;
    const { loss, klWeight, gradAccum, mixedPrecision } = settings;
    const precision = mixedPrecision === "fp16" ? "f16" : null;
    const [, ...pixels] = x.shape;
    const posterior = single(autocast(precision, () => model.encode(x)));
    const [, ...latents] = posterior.mean.shape;
    const z = posterior.sample({ generator: this.#noise });
    const off = autocast(precision, () => sub(model.decode(z), x));
    const share = (t: Tensor) => gradAccum === 1 ? t : mul(t, 1 / gradAccum);
    const reconstruction = share(mean(loss === "l1" ? abs(off) : square(off)));
    const nats = share(mean(posterior.kl()));
    backward(scaler.scale(add(reconstruction, mul(mul(nats, 1 / product(pixels)), klWeight))));
    const kl = mul(nats, 1 / product(latents));
    s.keep([reconstruction, kl]);
    return { reconstruction, kl };
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
      const values = new Map<string, HostTensor>();
      for (const key of file.keys()) {
        if (!key.startsWith(`${section}.`)) continue;
        values.set(key.slice(section.length + 1), await file.read(key));
      }
      if (section === "scaler" && values.size === 0) continue; // from before there was one
      part.loadStateDict(values);
    }
    this.#noise.seek(state.noise.offset);
    this.ema.step = state.emaUpdates;
    this.step = state.step;
  }

  #parts() {
    const { model, ema, scaler } = this;
    return { model, ema, optimizer: this.#optimizer, scaler };
  }

  /** Frees the weights and all that goes with them. */
  [Symbol.dispose](): void {
    this.records.dispose();
    this.scaler.dispose();
    this.ema.dispose();
    this.#optimizer.dispose();
    this.model.dispose();
  }
}

/** A posterior in single precision: variances are exponentials, which half has no room for. */
function single(posterior: DiagonalGaussian): DiagonalGaussian {
  const { mean, logvar } = posterior;
  if (mean.dtype === "f32") return posterior;
  return new DiagonalGaussian(cast(concat([mean, logvar], 1), "f32"));
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((a, b) => a * b, 1);
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
