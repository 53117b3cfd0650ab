/** Where the noise of a run comes from, so that a run can be replayed. */
import {
  defaultGenerator,
  type Device,
  Generator,
  randn,
  sameShape,
  type Shape,
  ShapeError,
  shapeText,
  type Tensor,
} from "../tensor/mod.ts";
import { concat } from "../autograd/mod.ts";

/** Noise given step by step: `step` counts from 0; -1 is the noise that sampling starts from. */
export type NoiseFn = (step: number, shape: Shape) => Tensor;

/** Where random numbers come from; without any of these, from the default generator. */
export interface NoiseSource {
  /** Called for every draw; goes before `generator`. */
  noiseFn?: NoiseFn;
  /**
   * One generator for the whole batch, or one a sample: then a sample's noise depends on its own
   * generator only, whatever else is in the batch.
   */
  generator?: Generator | readonly Generator[];
}

/** The noise of a method that draws once. */
export interface NoiseOptions extends NoiseSource {
  /** The noise itself, of the shape of the data; goes before everything else. */
  noise?: Tensor;
  /** The step that `noiseFn` is called with; 0 by default. */
  step?: number;
}

function checkNoise(op: string, noise: Tensor, shape: Shape): Tensor {
  if (!sameShape(noise.shape, shape)) {
    throw new ShapeError(
      `${op}: expected noise of shape ${shapeText(shape)} but got ${shapeText(noise.shape)}`,
    );
  }
  return noise;
}

/**
 * Standard normal noise of `shape`.
 *
 * @throws {ShapeError} where the noise given has another shape, or there is not one generator a
 * sample.
 */
export function drawNoise(
  op: string,
  shape: Shape,
  device: Device,
  source: NoiseOptions,
): Tensor {
  const { noise, noiseFn, generator = defaultGenerator(), step = 0 } = source;
  if (noise) return checkNoise(op, noise, shape);
  if (noiseFn) return checkNoise(op, noiseFn(step, shape), shape);
  if (generator instanceof Generator) return randn(shape, { generator, device });
  if (generator.length !== shape[0]) {
    throw new ShapeError(
      `${op}: expected ${shape[0]} generators, one a sample, but got ${generator.length}`,
    );
  }
  const one = [1, ...shape.slice(1)];
  return concat(generator.map((g) => randn(one, { generator: g, device })));
}
