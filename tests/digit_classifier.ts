/**
 * A small convolutional classifier of digits, trained on real MNIST with this project's own layers:
 * the judge of what a model draws. It never sees a drawn digit.
 */
import {
  AdamW,
  argmax,
  backward,
  cosineSchedule,
  flatten,
  Generator,
  logSoftmax,
  mean,
  mul,
  nn,
  noGrad,
  scope,
  silu,
  sum,
  type Tensor,
  tensor,
} from "@dit/core";
import { BatchSampler, type Dataset, Loader } from "@dit/data";

const CLASSES = 10;
const BATCH = 128;

/** [N, 1, 32, 32] in [-1, 1] to [N, 10] logits. */
export class DigitClassifier extends nn.Module {
  /** 32x32 to 16x16 */
  conv1: nn.Conv2d;
  /** 16x16 to 8x8 */
  conv2: nn.Conv2d;
  /** features to classes */
  head: nn.Sequential;

  constructor(generator: Generator) {
    super();
    this.conv1 = new nn.Conv2d(1, 16, 3, { stride: 2, padding: 1, generator });
    this.conv2 = new nn.Conv2d(16, 32, 3, { stride: 2, padding: 1, generator });
    this.head = new nn.Sequential(
      new nn.Linear(32 * 8 * 8, 128, { activation: "silu", generator }),
      new nn.Dropout(0.3, { generator }),
      new nn.Linear(128, CLASSES, { generator }),
    );
  }

  /** x [N, 1, 32, 32] to logits [N, 10]. */
  forward(x: Tensor): Tensor {
    const features = silu(this.conv2.forward(silu(this.conv1.forward(x))));
    return this.head.forward(flatten(features, 1));
  }

  /** The most likely digit of each picture of `images` [N, 1, 32, 32]. */
  async classify(images: Float32Array<ArrayBuffer>): Promise<number[]> {
    this.eval();
    const size = 32 * 32;
    const digits: number[] = [];
    for (let at = 0; at < images.length; at += 500 * size) {
      using _ = scope("classify");
      const part = images.slice(at, at + 500 * size);
      const x = tensor(part, [part.length / size, 1, 32, 32]);
      digits.push(...await noGrad(() => argmax(this.forward(x), -1)).data());
    }
    return digits;
  }
}

/** Mean negative logarithm of the probability of the right class. */
function crossEntropy(logits: Tensor, labels: ArrayLike<number>): Tensor {
  const target = new Float32Array(labels.length * CLASSES);
  Array.from(labels, (label, i) => target[i * CLASSES + label] = -1);
  return mean(sum(mul(logSoftmax(logits, -1), tensor(target, [labels.length, CLASSES])), -1));
}

/** Trains a classifier for `steps` batches of 128. */
export async function trainClassifier(train: Dataset, steps: number): Promise<DigitClassifier> {
  const generator = new Generator(7);
  const model = new DigitClassifier(generator);
  using optimizer = new AdamW(model.namedParameters());
  const schedule = cosineSchedule(steps);
  const sampler = new BatchSampler({ size: train.size, batchSize: BATCH, seed: 7, flip: false });
  await using loader = new Loader(train, sampler);
  for (let step = 0; step < steps; step++) {
    const { images, labels } = await loader.next();
    using _ = scope("train");
    const x = tensor(images, [labels.length, 1, 32, 32]);
    backward(crossEntropy(model.forward(x), labels));
    optimizer.lr = 2e-3 * schedule(step);
    optimizer.step();
    optimizer.zeroGrad();
  }
  return model;
}

/** Part of `digits` that are what `labels` say. */
export function agreement(digits: readonly number[], labels: ArrayLike<number>): number {
  return digits.filter((d, i) => d === labels[i]).length / digits.length;
}

/** Part of a dataset that a classifier gets right. */
export async function accuracy(model: DigitClassifier, test: Dataset): Promise<number> {
  const all = Array.from({ length: test.size }, (_, i) => i);
  const { images, labels } = await test.read(all);
  return agreement(await model.classify(images), labels);
}
