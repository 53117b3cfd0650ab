/**
 * Evaluation without Inception: a classifier, trained on the reference, says whether samples are what
 * was asked for, and its features compare their distribution with the reference's. These are other
 * numbers than FID's, and comparable only by the same classifier.
 */
import { CommandError } from "../shared/errors.ts";
import {
  accuracy,
  classify,
  type ImageClassifier,
  recipeFor,
  trainClassifier,
} from "./classifier.ts";
import { classifierKey, loadClassifier, saveClassifier } from "./classifier_file.ts";
import {
  compareFeatures,
  type Comparison,
  type ReferenceFeatures,
  referenceFeatures,
  requireNeighbours,
} from "./compare.ts";
import type { FeatureSet } from "./features.ts";
import { type Compared, TrainingPictures } from "./memorisation.ts";
import { chosen, divide, type Pictures } from "./pictures.ts";
import type { Reference } from "./read_pictures.ts";

/** Fewer samples than this are not compared. */
export const LEAST_SAMPLES = 20;

/** How a class fared. */
export interface ClassFigures {
  readonly name: string;
  readonly samples: number;
  /** Share of them that the classifier takes for this class. */
  readonly accuracy: number;
}

/** What samples came to. */
export interface ClassifierFigures extends Comparison, Compared {
  /** Share of samples that the classifier takes for the class that was asked for. */
  readonly accuracy: number;
  readonly classes: readonly ClassFigures[];
}

/** What is told while it works. */
export interface Progress {
  /** Called with what is done, how much of it, and how much there is. */
  readonly show?: (what: string, done: number, total: number) => void;
}

/** A classifier of a reference, and what samples are compared with. */
export class ClassifierEvaluation implements Disposable {
  /** Such as `classifier 0123456789abcdef`. */
  readonly name: string;
  /** Share of held-out pictures that the classifier gets right. */
  readonly heldOutAccuracy: number;
  /** Whether it was trained now, rather than kept from before. */
  readonly isNew: boolean;
  readonly reference: Reference;
  readonly #model: ImageClassifier;
  readonly #heldOut: readonly number[];
  /** What features are multiplied by. */
  readonly #scale: number;
  /** Of the pictures that it was trained on. */
  readonly #features: ReferenceFeatures;
  readonly #trained: TrainingPictures;

  private constructor(
    reference: Reference,
    { model, name, heldOutAccuracy, isNew, heldOut, features, scale }: {
      readonly model: ImageClassifier;
      readonly name: string;
      readonly heldOutAccuracy: number;
      readonly isNew: boolean;
      readonly heldOut: readonly number[];
      readonly features: ReferenceFeatures;
      readonly scale: number;
    },
  ) {
    this.reference = reference;
    this.#model = model;
    this.name = name;
    this.heldOutAccuracy = heldOutAccuracy;
    this.isNew = isNew;
    this.#heldOut = heldOut;
    this.#features = features;
    this.#scale = scale;
    this.#trained = new TrainingPictures(reference, reference.flippable, heldOut);
  }

  /**
   * Trains a classifier on nine tenths of the reference, or takes the one that is kept.
   *
   * @param folder Where classifiers are kept.
   * @throws {CommandError} where the reference has one class only, or too few pictures of one.
   */
  static async prepare(
    reference: Reference,
    folder: string,
    { show = () => {} }: Progress = {},
  ): Promise<ClassifierEvaluation> {
    const { name, classNames, labels, size, flippable } = reference;
    requireClasses(reference);
    const division = divide(labels, classNames, name);
    requireNeighbours(name, division.training.length);
    const training = chosen(reference, division.training);
    const config = { size, numClasses: classNames.length };
    const recipe = recipeFor(training, flippable);
    const key = await classifierKey(training, config, recipe);
    const kept = await loadClassifier(folder, key, config);
    const model = kept?.model ?? await trainClassifier(
      training,
      config,
      recipe,
      (step) => show("training a classifier", step, recipe.steps),
    );
    try {
      const heldOut = chosen(reference, division.heldOut);
      const heldOutAccuracy = kept?.accuracy ??
        accuracy((await classify(model, heldOut)).classes, heldOut.labels);
      if (!kept) await saveClassifier(folder, key, { model, accuracy: heldOutAccuracy });
      const { features } = await classify(
        model,
        training,
        (done) => show("features of the reference", done, training.count),
      );
      const scale = unitScale(features);
      return new ClassifierEvaluation(reference, {
        model,
        name: `classifier ${key}`,
        heldOutAccuracy,
        isNew: kept === null,
        heldOut: division.heldOut,
        features: referenceFeatures(scaled(features, scale)),
        scale,
      });
    } catch (error) {
      model.dispose();
      throw error;
    }
  }

  /**
   * Compares samples with the reference.
   *
   * @throws {CommandError} where they cannot be compared with it.
   */
  async evaluate(samples: Samples, { show = () => {} }: Progress = {}): Promise<ClassifierFigures> {
    requireComparable(samples, this.reference);
    const { features, classes } = await classify(
      this.#model,
      samples,
      (done) => show("features of the samples", done, samples.count),
    );
    return {
      ...await compareFeatures(scaled(features, this.#scale), this.#features),
      accuracy: accuracy(classes, samples.labels),
      classes: byClass(classes, samples, this.reference),
      ...await this.#trained.compare(
        samples,
        (done, total) => show("blocks of nearest training pictures", done, total),
      ),
    };
  }

  /** What held-out pictures of the reference come to in the place of samples. */
  async evaluateHeldOut(): Promise<Comparison & { readonly accuracy: number; samples: number }> {
    const pictures = chosen(this.reference, this.#heldOut);
    const { features } = await classify(this.#model, pictures);
    const comparison = await compareFeatures(scaled(features, this.#scale), this.#features);
    return { ...comparison, accuracy: this.heldOutAccuracy, samples: pictures.count };
  }

  /** Frees the classifier. */
  [Symbol.dispose](): void {
    this.#model.dispose();
  }
}

/**
 * What makes the mean square of features 1, as large as the kernel of KID expects them: those of a
 * classifier are as large as its training left them.
 */
function unitScale({ rows }: FeatureSet): number {
  let sum = 0;
  for (const value of rows) sum += value * value;
  return sum === 0 ? 1 : Math.sqrt(rows.length / sum);
}

function scaled({ count, width, rows }: FeatureSet, factor: number): FeatureSet {
  return { count, width, rows: rows.map((value) => value * factor) };
}

/** Samples, and where they are from. */
export interface Samples extends Pictures {
  readonly name: string;
  /** Of each, before it was reduced. */
  readonly fullSize: Reference["fullSize"];
}

/**
 * Refuses a reference that has no classes to tell apart.
 *
 * @param flag What chooses other features, for the message.
 * @throws {CommandError}
 */
export function requireClasses(
  { name, classNames }: Pick<Reference, "name" | "classNames">,
  flag = "--features",
): void {
  if (classNames.length > 1) return;
  throw new CommandError(
    `${name}: expected two classes or more for a classifier to tell apart, a subfolder each, but ` +
      `found ${classNames.length === 0 ? "none" : "one"}; ${flag} inception needs none`,
  );
}

/**
 * Refuses samples that are of another size or of other classes than the reference, and too few.
 *
 * @throws {CommandError}
 */
export function requireComparable(samples: Samples, reference: Reference): void {
  const { name, count, labels, fullSize } = samples;
  const { classNames } = reference;
  const text = ([height, width, channels]: Reference["fullSize"]) =>
    `${height}x${width} in ${channels === 1 ? "grey" : "colour"}`;
  if (fullSize.some((d, i) => d !== reference.fullSize[i])) {
    throw new CommandError(
      `${name}: expected pictures of ${text(reference.fullSize)}, as ${reference.name} has, but ` +
        `found ${text(fullSize)}`,
    );
  }
  const wrong = labels.find((label) => label >= classNames.length);
  if (wrong !== undefined) {
    throw new CommandError(
      `${name}: expected classes below ${classNames.length}, the number of those of ` +
        `${reference.name}, but found ${wrong}`,
    );
  }
  const least = Math.max(LEAST_SAMPLES, classNames.length);
  if (count < least) {
    throw new CommandError(
      `${name}: expected ${least} samples or more of ${classNames.length} classes but found ` +
        `${count}`,
    );
  }
  const found = new Set(labels);
  const missing = classNames.findIndex((_, label) => !found.has(label));
  if (missing >= 0) {
    throw new CommandError(
      `${name}: expected samples of all ${classNames.length} classes of ${reference.name} but ` +
        `there are none of class ${missing} (${classNames[missing]}), which the figures would be ` +
        "wrong for; sample more, or with --balanced-labels",
    );
  }
}

function byClass(
  classes: ArrayLike<number>,
  { labels }: Pictures,
  { classNames }: Reference,
): ClassFigures[] {
  return classNames.map((name, label) => {
    const own = Array.from(labels.keys()).filter((i) => labels[i] === label);
    const right = own.filter((i) => classes[i] === label).length;
    return { name, samples: own.length, accuracy: right / own.length };
  });
}
