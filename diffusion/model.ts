/** What diffusion asks of a model, and the one place where models are called. */
import { sameShape, type Shape, ShapeError, shapeText, type Tensor } from "../tensor/mod.ts";
import { cast, split } from "../autograd/mod.ts";

/** Further inputs of a model by name, such as `{ y }`, where nothing more is known of them. */
export type ModelKwargs = Record<string, unknown>;

/**
 * A network that sees a noisy batch.
 *
 * @param x [N, C, ...]
 * @param t i32 [N]: timesteps of the process the model was trained on, whatever the respacing; f32
 * [N] where time is not counted.
 * @param kwargs Further inputs.
 * @param at `t` on the host, where it is known there.
 * @returns [N, C, ...], or [N, 2 C, ...] where the variance is learned too.
 */
export type ModelFunction<K extends object = ModelKwargs> = (
  x: Tensor,
  t: Tensor,
  kwargs: K,
  at?: readonly number[],
) => Tensor;

/** A network as an object. Its `forward` gets the further inputs in the order they were given. */
export interface ModelObject {
  /** As a {@link ModelFunction}, with the further inputs one by one. */
  forward(x: Tensor, t: Tensor, ...rest: unknown[]): Tensor;
}

/** A model as a function or as an object. */
export type Model<K extends object = ModelKwargs> = ModelFunction<K> | ModelObject;

/** Calls `model`, whichever kind it is. */
export function callModel<K extends object>(
  model: Model<K>,
  x: Tensor,
  t: Tensor,
  kwargs: K,
  at?: readonly number[],
): Tensor {
  if (typeof model === "function") return model(x, t, kwargs, at);
  return model.forward(x, t, ...Object.values(kwargs));
}

/** A model's output in its two parts, f32. */
export interface ModelOutput {
  /** [N, C, ...]: what the mean is computed from. */
  readonly main: Tensor;
  /** [N, C, ...]: what the variance is computed from, where it is learned. */
  readonly variance: Tensor | undefined;
}

/**
 * Takes a model's output apart.
 *
 * @throws {ShapeError} where it is not [N, C, ...], or [N, 2 C, ...] with a learned variance.
 */
export function splitOutput(
  op: string,
  output: Tensor,
  shape: Shape,
  learnsVariance: boolean,
): ModelOutput {
  const [batch, channels] = shape as [number, number];
  const expected = learnsVariance ? [batch, 2 * channels, ...shape.slice(2)] : shape;
  if (!sameShape(output.shape, expected)) {
    throw new ShapeError(
      `${op}: expected a model output of shape ${shapeText(expected)} for x of shape ` +
        `${shapeText(shape)} and a ${learnsVariance ? "learned" : "fixed"} variance but got ` +
        shapeText(output.shape),
    );
  }
  const wide = cast(output, "f32"); // mixed precision may give f16
  if (!learnsVariance) return { main: wide, variance: undefined };
  const [main, variance] = split(wide, channels, 1) as [Tensor, Tensor];
  return { main, variance };
}
