/**
 * Flow matching along straight lines (Liu et al., arXiv 2209.03003; Lipman et al., arXiv 2210.02747)
 * in the least code: x_t = (1 - t) x_0 + t eps, of which the model predicts the velocity eps - x_0.
 * A process of continuous time, to show that nothing else knows Gaussian diffusion.
 */
import { add, cast, clamp, mul, reshape, square, sub } from "../autograd/mod.ts";
import { Generator, scope, Tensor, tensor } from "../tensor/mod.ts";
import { callModel, type Model } from "./model.ts";
import { drawNoise } from "./noise.ts";
import type {
  NoiseLevel,
  Process,
  StepOptions,
  TrainingLosses,
  TrainingOptions,
} from "./process.ts";
import { keepAll, meanFlat } from "./tensors.ts";
import { BatchTimesteps, type Timesteps } from "./timesteps.ts";
import type { TimestepSampler, UniformSource } from "./timestep_samplers.ts";

/** Times in [0, 1), as they come. */
class UniformTimes implements TimestepSampler {
  readonly learns = false;
  weights(): Float64Array {
    return Float64Array.of(1);
  }
  sample(batch: number, uniforms: UniformSource) {
    const timesteps = uniforms instanceof Generator
      ? Array.from({ length: batch }, () => uniforms.nextUint32() / 2 ** 32)
      : Array.from(uniforms as ArrayLike<number>);
    return { timesteps, weights: new Float32Array(batch).fill(1) };
  }
  update(): void {}
  state() {
    return { name: "uniform" as const, history: [] };
  }
  load(): void {}
}

/** The process. */
export class LinearFlow implements Process {
  readonly name = "lines";
  readonly learnsVariance = false;
  readonly maxSteps = Infinity;

  timestepSampler(): TimestepSampler {
    return new UniformTimes();
  }

  trainingLosses<K extends object>(
    model: Model<K>,
    xStart: Tensor,
    t: Timesteps,
    options: TrainingOptions<K> = {},
  ): TrainingLosses {
    using s = scope("trainingLosses");
    const noise = drawNoise("trainingLosses", xStart.shape, xStart.device, options);
    const times = timesOf(t, xStart);
    const velocity = sub(noise, xStart);
    const xT = add(xStart, mul(column(times, xStart), velocity));
    const output = callModel(model, xT, times, options.modelKwargs ?? {} as K);
    const mse = meanFlat(square(sub(cast(output, "f32"), velocity)));
    return keepAll(s, { loss: mse, mse });
  }

  predictXstart<K extends object>(
    model: Model<K>,
    x: Tensor,
    t: Timesteps,
    { modelKwargs, clipDenoised = true }: StepOptions<K> = {},
  ): Tensor {
    using s = scope("predictXstart");
    const times = timesOf(t, x);
    const at = typeof t === "number" ? new Array<number>(x.shape[0]!).fill(t) : undefined;
    const velocity = callModel(model, x, times, modelKwargs ?? {} as K, at);
    const xStart = sub(x, mul(column(times, x), velocity));
    return s.keep(clipDenoised ? clamp(xStart, -1, 1) : xStart);
  }

  levelAt(t: number): NoiseLevel {
    return t < 0
      ? { t, modelTime: t, alpha: 1, sigma: 0 }
      : { t, modelTime: t, alpha: 1 - t, sigma: t };
  }

  stops(steps: number): number[] {
    return Array.from({ length: steps }, (_, i) => 1 - i / steps);
  }
}

/** Times [N] beside `x` [N, ...]. */
function timesOf(t: Timesteps, x: Tensor): Tensor {
  if (t instanceof BatchTimesteps) throw new TypeError("expected times but got timesteps");
  if (t instanceof Tensor) return t;
  const each = typeof t === "number" ? new Array<number>(x.shape[0]!).fill(t) : Array.from(t);
  return tensor(each, [each.length], { device: x.device });
}

const column = (t: Tensor, x: Tensor): Tensor =>
  reshape(t, [-1, ...new Array<number>(x.rank - 1).fill(1)]);
