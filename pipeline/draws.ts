/** Samples to draw: the class and the noise of each, which may lie on the way to others. */
import { addcmul, concat, mul } from "../autograd/mod.ts";
import type { NoiseFn } from "../diffusion/mod.ts";
import { Generator, randn, type Shape, type Tensor, tensor } from "../tensor/mod.ts";

/** A sample to draw. */
export interface Draw {
  /** Its class. */
  readonly label: number;
  /** A class on the way to another one: 0 is its own, 1 the other, linear in the embedding. */
  readonly towardsLabel?: { readonly label: number; readonly amount: number };
  /** All of its noise is drawn from this seed, whatever is sampled beside it. */
  readonly seed: number;
  /** The stream of that seed; 0 by default. */
  readonly stream?: number;
  /**
   * Noise on the way to that of another seed: 0 is its own, 1 the other's. It is cos a + sin a of
   * both, by an angle from 0 to 90 degrees: independent noises stand at right angles but for chance,
   * so this is the way along the sphere, and what lies on it is standard normal noise. That holds of
   * the noise that sampling starts from, and of what a random sampler adds in each of its steps.
   */
  readonly towardsSeed?: { readonly seed: number; readonly amount: number };
}

/**
 * Classes as a model takes them.
 *
 * @param rows Classes of the model, with the null class where it has one.
 * @returns Labels, i32 [N]; weights of classes, f32 [N, rows], where one lies between two.
 */
export function labelsOf(draws: readonly Draw[], rows: number): Tensor {
  if (draws.every(({ towardsLabel }) => towardsLabel === undefined)) {
    return tensor(draws.map(({ label }) => label), [draws.length], { dtype: "i32" });
  }
  const weights = new Float32Array(draws.length * rows);
  for (const [i, { label, towardsLabel: to = { label, amount: 0 } }] of draws.entries()) {
    weights[i * rows + label]! += 1 - to.amount;
    weights[i * rows + to.label]! += to.amount;
  }
  return tensor(weights, [draws.length, rows]);
}

/** No class for each sample, in the form of `labels`. */
export function nullLabels(labels: Tensor, nullClass: number): Tensor {
  const [count, rows] = labels.shape as [number, number?];
  if (rows === undefined) {
    return tensor(new Array<number>(count).fill(nullClass), [count], { dtype: "i32" });
  }
  const weights = new Float32Array(count * rows);
  for (let i = 0; i < count; i++) weights[i * rows + nullClass] = 1;
  return tensor(weights, [count, rows]);
}

/** The noise of samples, to be drawn from once in order. */
export function noiseOf(draws: readonly Draw[]): NoiseFn {
  const sources = draws.map(sourceOf);
  return (_, shape) => {
    const one = [1, ...shape.slice(1)];
    return concat(sources.map((draw) => draw(one)));
  };
}

function sourceOf({ seed, stream = 0, towardsSeed }: Draw): (shape: Shape) => Tensor {
  const own = new Generator(seed, stream);
  const drawOwn = (shape: Shape) => randn(shape, { generator: own });
  if (towardsSeed === undefined || towardsSeed.amount === 0 || towardsSeed.seed === seed) {
    return drawOwn;
  }
  const other = new Generator(towardsSeed.seed, stream);
  const drawOther = (shape: Shape) => randn(shape, { generator: other });
  if (towardsSeed.amount === 1) return drawOther;
  const angle = towardsSeed.amount * Math.PI / 2;
  return (shape) =>
    addcmul(mul(drawOwn(shape), Math.cos(angle)), drawOther(shape), Math.sin(angle));
}
