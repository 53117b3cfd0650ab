/** What compares samples of a model in training with its data: a classifier, or Inception. */
import type { Evaluation } from "../run/evaluation.ts";
import { CommandError } from "../shared/errors.ts";
import { exists } from "../shared/files.ts";
import type { ImageSize } from "../shared/sample_archive.ts";
import { ClassifierEvaluation, type Progress } from "./classifier_evaluation.ts";
import {
  compareFeatures,
  type ReferenceFeatures,
  referenceFeatures,
  requireNeighbours,
} from "./compare.ts";
import { type FeatureExtractor, type FeatureSet, type ImagesShape, joined } from "./features.ts";
import { InceptionExtractor, usualInceptionPath } from "./inception_extractor.ts";
import { TrainingPictures } from "./memorisation.ts";
import { evenly, LONGEST_SIDE, reduced, reducedSize } from "./pictures.ts";
import type { Reference } from "./read_pictures.ts";

/** Images that Inception is given at a time. */
const BATCH = 16;

/** Samples at their full size. */
export interface FullPictures {
  readonly name: string;
  readonly count: number;
  readonly size: ImageSize;
  /** [N, H, W, C] */
  readonly pixels: Uint8Array<ArrayBuffer>;
  readonly labels: Int32Array<ArrayBuffer>;
}

/** What is found of samples. */
export type Judgement = Pick<
  Evaluation,
  "frechetDistance" | "kid" | "precision" | "recall" | "accuracy" | "nearestRatio"
>;

/** Compares samples with data. */
export interface Judge extends Disposable {
  /** The network that features are of, as evaluations record it. */
  readonly name: string;
  /** The same for people. */
  readonly text: string;
  judge(samples: FullPictures): Promise<Judgement>;
}

/** Reads the pictures of the data; the caller is given them at their full size. */
export type ReadReference = (
  onPictures?: (pixels: Uint8Array, shape: ImagesShape) => Promise<void>,
) => Promise<Reference>;

/** By a classifier of the data, which is trained unless one is kept in `folder`. */
export async function classifierJudge(
  read: ReadReference,
  folder: string,
  progress: Progress,
): Promise<Judge> {
  const evaluation = await ClassifierEvaluation.prepare(await read(), folder, progress);
  const { name, heldOutAccuracy, isNew } = evaluation;
  return {
    name,
    text: `a ${name}, ${isNew ? "trained now" : "kept from before"}: ` +
      `${(100 * heldOutAccuracy).toFixed(1)} % of held-out pictures right`,
    async judge(samples) {
      const { accuracy, memorisation, frechetDistance, kid, precision, recall } = await evaluation
        .evaluate(smaller(samples));
      const nearestRatio = memorisation.ratio;
      return { frechetDistance, kid, precision, recall, accuracy, nearestRatio };
    },
    [Symbol.dispose]: () => evaluation[Symbol.dispose](),
  };
}

/**
 * By Inception with the downloaded weights.
 *
 * @throws {CommandError} where they are not there.
 */
export async function inceptionJudge(read: ReadReference): Promise<Judge> {
  const path = usualInceptionPath();
  if (!await exists(path)) {
    throw new CommandError(
      `--eval-features inception: expected its weights in ${path} but there are none; get them with ` +
        "deno task download inception, or leave the flag out for a classifier of the data",
    );
  }
  return await extractorJudge(await InceptionExtractor.open(path), read);
}

/**
 * By features of any network, those of the data computed first.
 *
 * @param extractor Disposed of with the judge.
 */
export async function extractorJudge(
  extractor: FeatureExtractor & Disposable,
  read: ReadReference,
): Promise<Judge> {
  try {
    const parts: FeatureSet[] = [];
    const reference = await read(async (pixels, shape) => {
      parts.push(await extractAll(extractor, pixels, shape));
    });
    requireNeighbours(reference.name, reference.count);
    const features = referenceFeatures(joined(parts, extractor.width));
    return judgeBy(extractor, features, reference);
  } catch (error) {
    extractor[Symbol.dispose]();
    throw error;
  }
}

function judgeBy(
  extractor: FeatureExtractor & Disposable,
  features: ReferenceFeatures,
  reference: Reference,
): Judge {
  const all = evenly(reference.count, reference.count);
  const trained = new TrainingPictures(reference, reference.flippable, all);
  return {
    name: extractor.name,
    text: `${extractor.name}, compared with ${reference.count.toLocaleString("en")} pictures`,
    async judge(samples) {
      const { count, size, pixels } = samples;
      const own = await extractAll(extractor, pixels, [count, ...size]);
      const { memorisation } = await trained.compare(smaller(samples));
      return { ...await compareFeatures(own, features), nearestRatio: memorisation.ratio };
    },
    [Symbol.dispose]: () => extractor[Symbol.dispose](),
  };
}

/** Features of any number of images, some at a time. */
async function extractAll(
  extractor: FeatureExtractor,
  pixels: Uint8Array,
  [count, height, width, channels]: ImagesShape,
): Promise<FeatureSet> {
  const bytes = height * width * channels;
  const parts: FeatureSet[] = [];
  for (let first = 0; first < count; first += BATCH) {
    const length = Math.min(BATCH, count - first);
    const part = pixels.subarray(first * bytes, (first + length) * bytes);
    parts.push(await extractor.extract(part, [length, height, width, channels]));
  }
  return joined(parts, extractor.width);
}

/** Samples as they are held in memory by the ten thousand. */
function smaller({ name, count, size, pixels, labels }: FullPictures) {
  return {
    name,
    count,
    labels,
    fullSize: size,
    size: reducedSize(size, LONGEST_SIDE),
    pixels: reduced(pixels, size, LONGEST_SIDE),
  };
}
