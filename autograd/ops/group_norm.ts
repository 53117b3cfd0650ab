/** Group normalisation. */
import {
  checkOperands,
  checkOptionNames,
  checkSetting,
  contiguous,
  contiguousStrides,
  dispatch,
  empty,
  fillInto,
  floatOf,
  reshaped,
  type Shape,
  ShapeError,
  shapeText,
  sizeOf,
  type Tensor,
} from "../../tensor/mod.ts";
import { defineOp } from "../op.ts";
import { packed } from "./packed.ts";

interface GroupNormAttrs {
  groups: number;
  eps: number;
  silu: boolean;
}

const callGroupNorm = defineOp<
  GroupNormAttrs,
  readonly [Tensor, Tensor, Tensor, Tensor, Tensor]
>({
  name: "groupNorm",
  forward: ([x, weight, bias], { groups, eps, silu }) => {
    const { device, shape } = x!;
    const dtype = floatOf("groupNorm", x!, [weight, bias]);
    const flat = imagesOf(shape);
    const out = empty(device, dtype, shape, "groupNorm");
    const mean = empty(device, "f32", [flat[0], groups], "groupNorm");
    const rstd = empty(device, "f32", [flat[0], groups], "groupNorm");
    const input = packed(x!, flat, "groupNorm");
    const [w, b] = [contiguous(weight!), contiguous(bias!)];
    if (out.size > 0) {
      const target = out.as(flat, contiguousStrides(flat));
      const args = { x: input, weight: w, bias: b, groups, eps, silu, out: target, mean, rstd };
      dispatch("groupNorm", "groupNorm", device, args);
    }
    return { out, saved: [input, w, b, mean, rstd] };
  },
  backward: ([g], [x, weight, bias, mean, rstd], { groups, silu }, needs) => {
    const { device, dtype, shape } = x;
    const dx = empty(device, dtype, shape, "groupNorm");
    const dWeight = empty(device, weight.dtype, weight.shape, "groupNorm");
    const dBias = empty(device, weight.dtype, weight.shape, "groupNorm");
    if (dx.size > 0) {
      dispatch("groupNorm", "groupNormGrad", device, {
        x,
        g: packed(g!, shape, "groupNorm"),
        weight,
        bias,
        groups,
        silu,
        mean,
        rstd,
        dx,
        dWeight,
        dBias,
      });
    } else for (const d of [dWeight, dBias]) fillInto(d, 0, "groupNorm");
    return [reshaped(dx, g!.shape), dWeight, dBias].map((d, i) => needs[i] ? d : null);
  },
  samples: [
    {
      name: "a channel a group",
      inputs: [{ shape: [2, 5, 3, 7] }, { shape: [5] }, { shape: [5] }],
      call: ([x, w, b]) => groupNorm(x!, 5, { weight: w!, bias: b! }),
    },
    {
      name: "4 groups with silu, strided",
      inputs: [{ shape: [2, 12, 9, 3], strided: true }, { shape: [12] }, { shape: [12] }],
      call: ([x, w, b]) => groupNorm(x!, 4, { weight: w!, bias: b!, eps: 1e-5, silu: true }),
    },
  ],
});

function imagesOf(shape: Shape): [number, number, number] {
  return [shape[0]!, shape[1]!, sizeOf(shape.slice(2))];
}

/** Settings of {@link groupNorm}. */
export interface GroupNormOptions {
  /** [C] */
  weight: Tensor;
  /** [C] */
  bias: Tensor;
  /** Added to the variance; 1e-6 as in the VAE. */
  eps?: number;
  /** Whether x sigmoid(x) follows, in the same pass. */
  silu?: boolean;
}

/** x [N, C, ...] with each of `groups` groups of channels of a sample to mean 0, variance 1. */
export function groupNorm(x: Tensor, groups: number, options: GroupNormOptions): Tensor {
  checkOptionNames("groupNorm", options, { weight: 1, bias: 1, eps: 1, silu: 1 });
  const { weight, bias, eps = 1e-6, silu = false } = options;
  checkOperands("groupNorm", [x, weight, bias]);
  checkSetting("groupNorm", "eps", eps, 0);
  const c = x.shape[1];
  const fits = (t?: Tensor) => t?.rank === 1 && t.shape[0] === c;
  const whole = Number.isInteger(groups) && groups >= 1;
  if (c === undefined || !whole || c % groups !== 0 || !fits(weight) || !fits(bias)) {
    throw new ShapeError(
      `groupNorm: expected x [N, C, ...] with C a multiple of ${groups} groups, weight and bias ` +
        `[C], but got ${
          [x, weight, bias].map((t?: Tensor) => t ? shapeText(t.shape) : "none").join(", ")
        }`,
    );
  }
  return callGroupNorm([x, weight, bias], { groups, eps, silu })[0]!;
}
