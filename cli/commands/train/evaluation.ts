/** Evaluation of a model in training: samples by its averaged weights, compared with its data. */
import { div, noGrad } from "@dit/core/autograd";
import { type ImageSampler, type ModelConfig, usualBatchSize } from "@dit/core/pipeline";
import { scope, tensor } from "@dit/core/tensor";
import type { AutoencoderKL } from "@dit/core/vae";
import { type Examples, toPixels } from "@dit/data";
import { onRankZero, Stopped, workTogether } from "../../distributed/together.ts";
import type { World } from "../../distributed/world.ts";
import { requireClasses } from "../../evaluation/classifier_evaluation.ts";
import {
  classifierJudge,
  type FullPictures,
  inceptionJudge,
  type Judge,
  type ReadReference,
} from "../../evaluation/judges.ts";
import { datasetPictures } from "../../evaluation/read_pictures.ts";
import type { Evaluation, EVALUATION_FEATURES } from "../../run/evaluation.ts";
import { EVALUATION_CACHE } from "../../shared/defaults.ts";
import { CommandError } from "../../shared/errors.ts";
import { ProgressLine } from "../../shared/progress.ts";
import type { ImageSize } from "../../shared/sample_archive.ts";
import type { TrainData } from "./open_data.ts";
import { type Previewed, previewSettings } from "./preview.ts";

/** Streams of the seed that nothing else draws from: sample k draws from this one plus k. */
const EVALUATION_STREAM = 1 << 24;

/** Pictures of the data at most, or of each class, where each is decoded or passed through Inception. */
const SLOWLY_READ = { all: 5000, each: 20 } as const;

/** A model in training, as evaluations need it. */
export interface Evaluated extends Previewed {
  readonly step: number;
  readonly world: World;
}

/** What evaluations are prepared from. */
export interface EvaluationParts {
  readonly config: ModelConfig;
  readonly data: TrainData;
  /** Makes pictures of latents; null for a model of pixels. */
  readonly decoder: AutoencoderKL | null;
  readonly world: World;
  /** Samples of an evaluation. */
  readonly samples: number;
  /** What features they are compared in. */
  readonly features: typeof EVALUATION_FEATURES[number];
}

/** Samples of a model in training, compared with its data. */
export class TrainingEvaluation implements Disposable {
  readonly #count: number;
  /** Null on ranks other than 0, which help with the samples. */
  readonly #judge: Judge | null;

  private constructor(count: number, judge: Judge | null) {
    [this.#count, this.#judge] = [count, judge];
  }

  /**
   * Reads the data as pictures, and gets ready to compare samples with them: trains a classifier on
   * them, unless one is kept, or computes their features by Inception. Collective.
   *
   * @throws {CommandError} where samples could not be compared with them.
   */
  static async prepare(parts: EvaluationParts, path: string): Promise<TrainingEvaluation> {
    const { config, data, decoder, world, samples, features } = parts;
    const { classNames } = data.dataset;
    if (features === "classifier") {
      requireClasses({ name: `--data ${path}`, classNames }, "--eval-features");
    }
    requireEnough(samples, classNames.length);
    let judge: Judge | null = null;
    await onRankZero(world, async () => {
      if (world.rank > 0) return;
      const isLatent = data.shape.kind === "features";
      const limit = isLatent || features === "inception"
        ? Math.max(SLOWLY_READ.all, SLOWLY_READ.each * classNames.length)
        : Infinity;
      using line = new ProgressLine("         ");
      const read: ReadReference = async (onPictures) =>
        await datasetPictures(data.dataset, path, {
          ...(isLatent ? { decode: decoderOf(config, decoder!) } : {}),
          ...(onPictures ? { onPictures } : {}),
          limit,
          onProgress: (done, total) => line.show(done, total, "pictures of the data"),
        });
      judge = features === "inception" ? await inceptionJudge(read) : await classifierJudge(
        read,
        EVALUATION_CACHE,
        { show: (what, done, total) => line.show(done, total, what) },
      );
    });
    return new TrainingEvaluation(samples, judge);
  }

  /** The line about it among the first ones. */
  get text(): string {
    return `evaluate ${this.#count} samples, by features of ${this.#judge!.text}`;
  }

  /**
   * Samples, shared by all ranks, and compares them on rank 0. Neither draws from a stream of training.
   * Collective.
   *
   * @param stopping Whether this rank is asked to stop, which stops all.
   * @returns Null where it was stopped, and on ranks other than 0.
   */
  async measure(
    trainee: Evaluated,
    sampler: ImageSampler,
    stopping: () => boolean,
  ): Promise<Evaluation | null> {
    const start = performance.now();
    const settings = previewSettings(trainee);
    const samples = await this.#sample(trainee, sampler, stopping);
    if (samples === null) return null;
    let result: Evaluation | null = null;
    await onRankZero(trainee.world, async () => {
      if (!this.#judge) return;
      const name = `samples of step ${trainee.step}`;
      const judgement = await this.#judge.judge({ ...samples, name });
      const guidance = settings.cfgScale === 1 ? "no guidance" : `guidance ${settings.cfgScale}`;
      result = {
        kind: "evaluation",
        step: trainee.step,
        features: this.#judge.name,
        samples: this.#count,
        sampling: `${settings.sampler}, ${settings.steps} steps, ${guidance}`,
        ...judgement,
        seconds: (performance.now() - start) / 1000,
      };
    });
    return result;
  }

  /**
   * Samples of all classes in turn. Ranks take groups in turn, which are the same however many ranks
   * there are; rank 0 gets all of them, the others none.
   *
   * @returns Null where it was stopped.
   */
  async #sample(
    trainee: Evaluated,
    sampler: ImageSampler,
    stopping: () => boolean,
  ): Promise<Omit<FullPictures, "name"> | null> {
    const { world, config } = trainee;
    const numClasses = config.classNames.length;
    const labels = Array.from({ length: this.#count }, (_, i) => i % numClasses);
    const group = usualBatchSize(config);
    const starts = Array.from(
      { length: Math.ceil(this.#count / group) },
      (_, i) => i * group,
    );
    const own: Uint8Array[] = [];
    let size: ImageSize = [0, 0, 0];
    using line = new ProgressLine("         ");
    let done = 0;
    const work = async (isStopped: () => boolean): Promise<void> =>
      await trainee.averaged(async () => {
        for (const [i, first] of starts.entries()) {
          if (i % world.size !== world.rank) continue;
          if (isStopped()) throw new Stopped();
          const part = labels.slice(first, first + group);
          const { images, ...shape } = await sampler.sample(
            EVALUATION_STREAM + first,
            part,
            previewSettings(trainee),
          );
          size = [shape.height, shape.width, shape.channels];
          own.push(toPixels(images, shape));
          done += part.length;
        }
      });
    const stop = {
      get requested() {
        return stopping();
      },
    };
    const isWhole = await workTogether(world, work, {
      stop,
      done: () => done,
      onTotal: (total) => world.rank === 0 && line.show(total, this.#count, "samples"),
    });
    if (!isWhole) return null;
    const all = await world.allGather(joined(own));
    if (world.rank > 0) {
      return { count: 0, size, pixels: new Uint8Array(), labels: new Int32Array() };
    }
    const bytes = size[0] * size[1] * size[2];
    const pixels = new Uint8Array(this.#count * bytes);
    const at = all.map(() => 0);
    for (const [i, first] of starts.entries()) {
      const rank = i % world.size;
      const length = Math.min(group, this.#count - first) * bytes;
      pixels.set(all[rank]!.subarray(at[rank], at[rank]! += length), first * bytes);
    }
    return { count: this.#count, size, pixels, labels: Int32Array.from(labels) };
  }

  /** Frees the network. */
  [Symbol.dispose](): void {
    this.#judge?.[Symbol.dispose]();
  }
}

function requireEnough(samples: number, classes: number): void {
  if (samples >= classes) return;
  throw new CommandError(
    `--eval-samples: expected ${classes} or more, the number of classes, but got ${samples}`,
  );
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Makes pictures of latents, one at a time as samples are decoded. */
function decoderOf({ latents }: ModelConfig, decoder: AutoencoderKL) {
  return async (
    { images, shape: [count, channels, height, width] }: Examples,
  ): Promise<Omit<Examples, "labels">> => {
    const length = channels * height * width;
    const planes: Float32Array[] = [];
    let size: readonly number[] = [];
    for (let i = 0; i < count; i++) {
      using _ = scope("decode");
      const one = tensor(images.slice(i * length, (i + 1) * length), [1, channels, height, width]);
      const image = noGrad(() => decoder.decode(div(one, latents!.scalingFactor)));
      size = image.shape;
      planes.push(Float32Array.from(await image.data()));
    }
    const [, c, h, w] = size as [number, number, number, number];
    const all = new Float32Array(count * c * h * w);
    planes.forEach((plane, i) => all.set(plane, i * plane.length));
    return { images: all, shape: [count, c, h, w] };
  };
}
