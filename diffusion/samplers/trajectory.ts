/** The loop that all samplers share: one step after the other, with nothing left behind. */
import { currentDevice, outsideScopes, scope, type Shape, type Tensor } from "../../tensor/mod.ts";
import { noGrad } from "../../autograd/mod.ts";
import { drawNoise, type NoiseSource } from "../noise.ts";

/**
 * A sampling step that was taken. Its tensors live until the next one is asked for; to keep one
 * longer, take a further handle: `detach(sample)`.
 */
export interface SamplingStep {
  /** The batch after the step: [N, C, ...]. */
  sample: Tensor;
  /** The x_0 predicted in the step: [N, C, ...]. */
  predXstart: Tensor;
  /** Counts from 0. */
  step: number;
  /** The timestep that the step began at, as the model sees it. */
  t: number;
}

/** Where a step begins. */
export interface Position {
  /** x_t, [N, C, ...] */
  readonly x: Tensor;
  /** The x_0 predicted in the step before; undefined in the first. */
  readonly lastXstart: Tensor | undefined;
  /** Counts from 0. */
  readonly step: number;
}

/** Settings of a loop: where it starts. */
export interface StartOptions extends NoiseSource {
  /** x_T, [N, C, ...]; drawn where it is left out. */
  noise?: Tensor;
}

/** x_T of `shape`. */
export function startNoise(op: string, shape: Shape, options: StartOptions): Tensor {
  const { noise } = options;
  return drawNoise(op, shape, noise?.device ?? currentDevice(), { ...options, step: -1 });
}

/** A further handle to the elements of `t`, in no scope. */
const own = (t: Tensor): Tensor => outsideScopes(() => t.as(t.shape, t.strides));

/**
 * Takes a step for each of `modelTimes`, without gradients. Each step has a scope of its own, none of
 * which spans a step of the caller's.
 *
 * @param start Makes the first x.
 * @param modelTimes The timestep of each step, as the model sees it.
 * @param advance Takes one step.
 */
export async function* trajectory(
  start: () => Tensor,
  modelTimes: readonly number[],
  advance: (from: Position) => { sample: Tensor; predXstart: Tensor },
): AsyncGenerator<SamplingStep, void> {
  const alone = <T>(fn: () => T): T =>
    outsideScopes(() => {
      using _ = scope("sampling step");
      return noGrad(fn);
    });
  let x = alone(() => own(start()));
  let lastXstart: Tensor | undefined;
  try {
    for (const [step, t] of modelTimes.entries()) {
      const next = alone(() => {
        const { sample, predXstart } = advance({ x, lastXstart, step });
        return { sample: own(sample), predXstart: own(predXstart) };
      });
      x.dispose();
      lastXstart?.dispose();
      ({ sample: x, predXstart: lastXstart } = next);
      await x.device.backend.ready();
      yield { ...next, step, t };
    }
  } finally {
    x.dispose();
    lastXstart?.dispose();
  }
}

/** The batch at the end of a trajectory, which belongs to the scope open at its end. */
export async function lastSample(steps: AsyncIterable<SamplingStep>): Promise<Tensor> {
  let last: Tensor | undefined;
  try {
    for await (const { sample } of steps) {
      last?.dispose();
      last = own(sample);
    }
    if (!last) throw new RangeError("sampling: expected 1 or more steps but got none");
    return last.as(last.shape, last.strides);
  } finally {
    last?.dispose();
  }
}

/** `count` - 1 to 0. */
export function descending(count: number): number[] {
  return Array.from({ length: count }, (_, i) => count - 1 - i);
}
