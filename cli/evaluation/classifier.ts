/**
 * A small convolutional network that tells the classes of pictures apart: it says whether samples
 * are what was asked for, and gives features to compare distributions in.
 */
import { backward, concat, flatten, logSoftmax, mean, mul, noGrad, sum } from "@dit/core/autograd";
import { AdamW, Conv2d, cosineSchedule, Dropout, GroupNorm, Linear, Module } from "@dit/core/nn";
import { currentDevice, Generator, scope, type Tensor, tensor } from "@dit/core/tensor";
import type { ImageSize } from "../shared/sample_archive.ts";
import { giveWay } from "../shared/turns.ts";
import type { FeatureSet } from "./features.ts";
import type { Pictures } from "./pictures.ts";

/** What a classifier is made for. Plain JSON. */
export interface ClassifierConfig {
  /** Of its pictures, as they are held: none is large. */
  readonly size: ImageSize;
  readonly numClasses: number;
}

/**
 * How a classifier is trained: with its data it decides the weights, so that a kept one is known by
 * both. Plain JSON.
 */
export interface ClassifierRecipe {
  /** Rises when the network or its training change. */
  readonly version: number;
  readonly seed: number;
  readonly batchSize: number;
  readonly steps: number;
  /** Learning rate at its highest. */
  readonly lr: number;
  readonly weightDecay: number;
  /** Pixels that a picture is moved by at most, in each direction. */
  readonly shift: number;
  /** Whether every other picture is mirrored. */
  readonly flip: boolean;
}

/** Width of the features. */
const WIDTH = 128;
/** Channels after the first convolution; each further one has twice as many, up to the second. */
const CHANNELS = [16, 64] as const;
/** Convolutions halve pictures until they are no larger. */
const LAST_SIDE = 8;
/** Channels that are normalised together. */
const GROUP = 8;
/** Pictures at a time in use. */
const BATCH = 256;

/** Passes over the data that training takes, within these bounds in steps. */
const LENGTH = { epochs: 30, least: 100, most: 700 } as const;

/** Random streams of the seed, one a purpose. */
const STREAMS = { weights: 0, dropout: 1, order: 2, augmentation: 3 } as const;

/** A convolution of stride two, normalised. */
class Stage extends Module {
  conv: Conv2d;
  norm: GroupNorm;

  constructor(inputs: number, outputs: number, generator: Generator) {
    super();
    this.conv = new Conv2d(inputs, outputs, 3, { stride: 2, padding: 1, generator });
    this.norm = new GroupNorm(outputs / GROUP, outputs, { silu: true });
  }

  /** x [N, C, H, W] to [N, outputs, H/2, W/2], rounded up. */
  forward(x: Tensor): Tensor {
    return this.norm.forward(this.conv.forward(x));
  }
}

/** Pictures [N, C, H, W] in [-1, 1] to logits [N, classes]. */
export class ImageClassifier extends Module {
  readonly config: ClassifierConfig;
  stages: Stage[];
  hidden: Linear;
  dropout: Dropout;
  head: Linear;

  /** Fresh weights on the current device, which follow from `seed`. */
  constructor(config: ClassifierConfig, seed = 0) {
    super();
    this.config = config;
    const generator = new Generator(seed, STREAMS.weights);
    let [height, width, channels] = config.size;
    this.stages = [];
    do {
      const outputs = Math.min(CHANNELS[1], CHANNELS[0] * 2 ** this.stages.length);
      this.stages.push(new Stage(channels, outputs, generator));
      [height, width, channels] = [Math.ceil(height / 2), Math.ceil(width / 2), outputs];
    } while (Math.max(height, width) > LAST_SIDE);
    this.hidden = new Linear(channels * height * width, WIDTH, { activation: "silu", generator });
    this.dropout = new Dropout(0.3, { generator: new Generator(seed, STREAMS.dropout) });
    this.head = new Linear(WIDTH, config.numClasses, { generator });
  }

  /** x [N, C, H, W] to what the last layer sees [N, 128]. */
  features(x: Tensor): Tensor {
    return this.hidden.forward(flatten(this.stages.reduce((y, stage) => stage.forward(y), x), 1));
  }

  /** x [N, C, H, W] to logits [N, classes]. */
  forward(x: Tensor): Tensor {
    return this.head.forward(this.dropout.forward(this.features(x)));
  }
}

/** What a classifier makes of pictures. */
export interface Classified {
  readonly features: FeatureSet;
  /** [N]: the most likely class of each. */
  readonly classes: Int32Array<ArrayBuffer>;
}

/**
 * Features and classes of pictures of the classifier's size.
 *
 * @param onProgress Called with the number of pictures done.
 */
export async function classify(
  model: ImageClassifier,
  { count, size, pixels }: Omit<Pictures, "labels">,
  onProgress: (done: number) => void = () => {},
): Promise<Classified> {
  const rows = new Float32Array(count * WIDTH);
  const classes = new Int32Array(count);
  const bytes = size[0] * size[1] * size[2];
  await model.evaluating(async () => {
    for (let first = 0; first < count; first += BATCH) {
      const length = Math.min(BATCH, count - first);
      const part = pixels.subarray(first * bytes, (first + length) * bytes);
      using found = both(model, asInput(part, length, size));
      const numbers = await found.data() as Float32Array;
      const width = WIDTH + model.config.numClasses;
      for (let i = 0; i < length; i++) {
        const row = numbers.subarray(i * width, (i + 1) * width);
        rows.set(row.subarray(0, WIDTH), (first + i) * WIDTH);
        classes[first + i] = largest(row.subarray(WIDTH));
      }
      onProgress(first + length);
    }
  });
  return { features: { count, width: WIDTH, rows }, classes };
}

function largest(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i;
  return best;
}

/** Features, then logits, which are read from the device together: [N, 128 + classes]. */
function both(model: ImageClassifier, input: Float32Array<ArrayBuffer>): Tensor {
  using s = scope("classify");
  const [height, width, channels] = model.config.size;
  return s.keep(noGrad(() => {
    const x = tensor(input, [input.length / (height * width * channels), channels, height, width]);
    const features = model.features(x);
    return concat([features, model.head.forward(features)], 1);
  }));
}

/** How a classifier of these pictures is trained. */
export function recipeFor({ count, size }: Pictures, flippable: boolean): ClassifierRecipe {
  const batchSize = Math.min(128, count);
  const steps = Math.round(LENGTH.epochs * count / batchSize);
  return {
    version: 1,
    seed: 0,
    batchSize,
    steps: Math.min(LENGTH.most, Math.max(LENGTH.least, steps)),
    lr: 3e-3,
    weightDecay: 0.02,
    shift: Math.round(Math.max(size[0], size[1]) / 32),
    flip: flippable,
  };
}

/**
 * Trains a classifier. The same pictures and recipe give the same weights on the same device.
 *
 * @param onStep Called after each step with the number of steps taken.
 */
export async function trainClassifier(
  pictures: Pictures,
  config: ClassifierConfig,
  recipe: ClassifierRecipe,
  onStep: (step: number) => void = () => {},
): Promise<ImageClassifier> {
  const { seed, steps, lr, weightDecay } = recipe;
  const model = new ImageClassifier(config, seed);
  using optimizer = new AdamW(model.namedParameters(), { lr, weightDecay });
  const schedule = cosineSchedule(steps);
  const batches = new Batches(pictures, recipe);
  const { backend } = currentDevice();
  for (let step = 0; step < steps; step++) {
    const { input, labels } = batches.next();
    optimizer.lr = lr * schedule(step);
    takeStep(model, optimizer, input, labels);
    await backend.ready(); // no more than about a second of steps is queued
    await giveWay();
    onStep(step + 1);
  }
  await backend.sync();
  return model;
}

function takeStep(
  model: ImageClassifier,
  optimizer: AdamW,
  input: Float32Array<ArrayBuffer>,
  labels: Int32Array,
): void {
  using _ = scope("step of a classifier");
  const { size: [height, width, channels], numClasses } = model.config;
  const x = tensor(input, [labels.length, channels, height, width]);
  const target = new Float32Array(labels.length * numClasses);
  labels.forEach((label, i) => target[i * numClasses + label] = -1);
  const logProbabilities = logSoftmax(model.forward(x), -1); // [N, classes]
  backward(mean(sum(mul(logProbabilities, tensor(target, [labels.length, numClasses])), -1)));
  optimizer.step();
  optimizer.zeroGrad();
}

/** Batches without end, each pass in an order of its own, with pictures moved and mirrored. */
class Batches {
  readonly #pictures: Pictures;
  readonly #recipe: ClassifierRecipe;
  readonly #order: Generator;
  readonly #augmentation: Generator;
  #indices = new Uint32Array(0);
  #at = 0;

  constructor(pictures: Pictures, recipe: ClassifierRecipe) {
    this.#pictures = pictures;
    this.#recipe = recipe;
    this.#order = new Generator(recipe.seed, STREAMS.order);
    this.#augmentation = new Generator(recipe.seed, STREAMS.augmentation);
  }

  next(): { input: Float32Array<ArrayBuffer>; labels: Int32Array } {
    const { batchSize, shift, flip } = this.#recipe;
    const { size, pixels, labels } = this.#pictures;
    if (this.#at + batchSize > this.#indices.length) {
      [this.#indices, this.#at] = [this.#order.permutation(this.#pictures.count), 0];
    }
    const chosen = this.#indices.subarray(this.#at, this.#at += batchSize);
    const length = size[0] * size[1] * size[2];
    const input = new Float32Array(batchSize * length);
    chosen.forEach((index, i) => {
      const [dx, dy, coin] = this.#augmentation.nextUint32s(3) as unknown as [
        number,
        number,
        number,
      ];
      normalize(
        pixels.subarray(index * length, (index + 1) * length),
        input.subarray(i * length, (i + 1) * length),
        size,
        {
          dx: dx % (2 * shift + 1) - shift,
          dy: dy % (2 * shift + 1) - shift,
          flip: flip && coin % 2 === 1,
        },
      );
    });
    return { input, labels: Int32Array.from(chosen, (index) => labels[index]!) };
  }
}

/** How a picture is moved and mirrored. */
interface Placement {
  readonly dx: number;
  readonly dy: number;
  readonly flip: boolean;
}

const UNMOVED: Placement = { dx: 0, dy: 0, flip: false };

/**
 * A picture [H, W, C] as numbers in [-1, 1], [C, H, W]. Where it is moved, its edge is repeated.
 */
function normalize(
  pixels: Uint8Array,
  out: Float32Array,
  [height, width, channels]: ImageSize,
  { dx, dy, flip }: Placement = UNMOVED,
): void {
  for (let y = 0; y < height; y++) {
    const row = Math.min(height - 1, Math.max(0, y + dy)) * width;
    for (let x = 0; x < width; x++) {
      const column = Math.min(width - 1, Math.max(0, (flip ? width - 1 - x : x) + dx));
      for (let c = 0; c < channels; c++) {
        out[(c * height + y) * width + x] = pixels[(row + column) * channels + c]! / 127.5 - 1;
      }
    }
  }
}

/** Pictures [N, H, W, C] as a network takes them: [N, C, H, W] in [-1, 1]. */
function asInput(pixels: Uint8Array, count: number, size: ImageSize): Float32Array<ArrayBuffer> {
  const length = size[0] * size[1] * size[2];
  const input = new Float32Array(count * length);
  for (let i = 0; i < count; i++) {
    const [from, to] = [i * length, (i + 1) * length];
    normalize(pixels.subarray(from, to), input.subarray(from, to), size);
  }
  return input;
}

/** The share of classes that are what `labels` say. */
export function accuracy(classes: ArrayLike<number>, labels: ArrayLike<number>): number {
  let right = 0;
  for (let i = 0; i < labels.length; i++) if (classes[i] === labels[i]) right++;
  return right / labels.length;
}
