/** Layer normalisation and RMSNorm, with what comes before and after them in a block. */
import {
  checkOperands,
  checkOptionNames,
  checkSetting,
  commonFloat,
  contiguousStrides,
  copy,
  dispatch,
  type DType,
  empty,
  fillInto,
  floatOf,
  reshaped,
  sameShape,
  type Shape,
  ShapeError,
  shapeText,
  type Tensor,
  unitInner,
} from "../../tensor/mod.ts";
import { autocastDtype } from "../modes.ts";
import { defineOp } from "../op.ts";
import { packed, rowsOf } from "./packed.ts";
import { chunk } from "./parts.ts";

interface LayerNormAttrs {
  eps: number;
  /** x as [B, T, N]. */
  rows: readonly [number, number, number];
  kind: "plain" | "affine" | "modulate";
  /** Of x. */
  dtype: DType;
  /** Whether the mean is taken out: not in RMSNorm. */
  centred: boolean;
  /** Whether the result is f16 under autocast, whatever the operands are. */
  half?: boolean;
  /** Whether x is given as well, for what goes past the norm. */
  fork?: boolean;
}

/** [B, N] of unit inner stride where a gradient may be written: `place`, if it is such a one. */
function perSample(place: Tensor | null, like: Tensor, shape: Shape): Tensor {
  const fits = place?.dtype === like.dtype && sameShape(place.shape, shape) &&
    place.strides.at(-1) === 1;
  return fits ? place : empty(like.device, like.dtype, shape, "layerNorm");
}

/** Gradients of a sum x + gate branch from that of the sum: of the gate and of the branch. */
interface GatedGrads {
  readonly dGate: Tensor;
  readonly dBranch: Tensor;
}

const callLayerNorm = defineOp<
  LayerNormAttrs,
  readonly [Tensor, Tensor, Tensor, Tensor | null, Tensor | null, Tensor | null]
>({
  name: "layerNorm",
  cast: "asGiven",
  forward: (inputs, { eps, rows, kind, centred, half, fork }) => {
    const [x, first, second, gate = null, branch = null] = inputs;
    const op = centred ? "layerNorm" : "rmsNorm"; // the one that was called, in errors
    const given = inputs.filter((t) => t !== null);
    const mayMix = autocastDtype() !== null;
    if (kind === "affine" || mayMix) floatOf(op, x!, [first, second]);
    else commonFloat(op, given);
    const { device } = x!;
    const isWide = mayMix && given.some((t) => t.dtype === "f32"); // of f16 and f32 comes f32
    const dtype = mayMix && half ? "f16" : isWide ? "f32" : x!.dtype;
    const out = empty(device, dtype, x!.shape, op);
    const mean = empty(device, "f32", [rows[0], rows[1]], op);
    const rstd = empty(device, "f32", [rows[0], rows[1]], op);
    const input = packed(x!, rows, op);
    const sumType = given.some((t) => t.dtype === "f32") ? "f32" : "f16";
    const summed = branch && empty(device, sumType, rows, op);
    const [h, factorOf] = [branch && packed(branch, rows, op), gate && unitInner(gate, op)];
    const a = first ? unitInner(first, op) : null;
    const b = second ? unitInner(second, op) : null;
    if (out.size > 0) {
      dispatch("layerNorm", "layerNorm", device, {
        x: input,
        branch: h,
        gate: factorOf,
        summed,
        weight: kind === "affine" ? a : null,
        bias: kind === "affine" ? b : null,
        shift: kind === "modulate" ? a : null,
        scale: kind === "modulate" ? b : null,
        eps,
        centred,
        out: out.as(rows, contiguousStrides(rows)),
        mean,
        rstd,
      });
    }
    const saved = [
      summed ?? input,
      mean,
      rstd,
      kind === "affine" ? a : b,
      factorOf,
      h,
    ] as const;
    return { out: fork ? [summed ?? x!, out] : out, saved };
  },
  backward: (grads, saved, { rows, kind, centred, fork, dtype: ownType }, needs, into) => {
    const [x, mean, rstd, factor, gate, branch] = saved;
    const [past, g] = fork ? [grads[0] ?? null, grads[1] ?? null] : [null, grads[0]!];
    const gated = branch && gate && (needs[3] || needs[4])
      ? {
        dGate: perSample(into(3), gate, gate.shape),
        dBranch: empty(branch.device, branch.dtype, branch.shape, "layerNorm"),
      }
      : null;
    const own = (dx: Tensor | null) =>
      dx && needs[0] ? (dx.dtype === ownType ? dx : copy(dx, ownType, "layerNorm")) : null;
    const ofGate = (): (Tensor | null)[] => [
      needs[3] ? gated?.dGate ?? null : null,
      needs[4] ? gated?.dBranch ?? null : null,
    ];
    if (!g) {
      if (gated) gradsOfGated(packed(past!, rows, "layerNorm"), gate!, branch!, gated);
      return [own(past), null, null, ...ofGate()];
    }
    const { device, dtype } = x;
    const [b, , n] = rows;
    const dx = empty(device, dtype, rows, "layerNorm");
    const like = (shape: Shape, input: number) => perSample(into(input), factor!, shape);
    const affine = kind === "affine";
    const modulate = kind === "modulate";
    const dWeight = affine ? like([n], 1) : null;
    const dBias = affine && centred ? like([n], 2) : null; // RMSNorm has no bias
    const dShift = modulate ? like([b, n], 1) : null;
    const dScale = modulate ? like([b, n], 2) : null;
    if (dx.size > 0) {
      dispatch("layerNorm", "layerNormGrad", device, {
        x,
        g: packed(g, rows, "layerNorm"),
        weight: affine ? factor : null,
        scale: modulate ? factor : null,
        centred,
        mean,
        rstd,
        residual: past && packed(past, rows, "layerNorm"),
        branch: gated && branch,
        gate: gated && gate,
        dx,
        dBranch: gated?.dBranch ?? null,
        dGate: gated?.dGate ?? null,
        dWeight,
        dBias,
        dScale,
        dShift,
      });
    } else {
      const sums = [dWeight, dBias, dScale, dShift, gated?.dGate];
      for (const d of sums) if (d) fillInto(d, 0, "layerNorm");
    }
    const affineGrads = affine ? [dWeight, dBias] : [dShift, dScale];
    const ofNorm = affineGrads.map((d, i) => needs[i + 1] ? d : null);
    return [own(reshaped(dx, g.shape)), ...ofNorm, ...ofGate()];
  },
  samples: [
    { name: "17x33", inputs: [{ shape: [17, 33] }], call: ([x]) => layerNorm(x!) },
    {
      name: "affine, strided",
      inputs: [{ shape: [2, 7, 33], strided: true }, { shape: [33] }, { shape: [33] }],
      call: ([x, w, b]) => layerNorm(x!, { weight: w!, bias: b!, eps: 1e-5 }),
    },
    {
      name: "modulated",
      inputs: [{ shape: [3, 5, 17] }, { shape: [3, 17] }, { shape: [3, 17], strided: true }],
      call: ([x, shift, scale]) => layerNormModulate(x!, shift!, scale!),
    },
    {
      name: "modulated by one row",
      inputs: [{ shape: [1, 1, 8] }, { shape: [1, 8] }, { shape: [1, 8] }],
      call: ([x, shift, scale]) => layerNormModulate(x!, shift!, scale!),
    },
    { name: "root mean square", inputs: [{ shape: [7, 33] }], call: ([x]) => rmsNorm(x!) },
    {
      name: "root mean square, weighted",
      inputs: [{ shape: [2, 5, 16], strided: true }, { shape: [16] }],
      call: ([x, weight]) => rmsNorm(x!, { weight: weight!, eps: 1e-5 }),
    },
    {
      name: "root mean square, modulated",
      inputs: [{ shape: [3, 5, 17] }, { shape: [3, 17] }, { shape: [3, 17], strided: true }],
      call: ([x, shift, scale]) => rmsNormModulate(x!, shift!, scale!),
    },
    {
      name: "modulated, and what goes past",
      inputs: [{ shape: [3, 5, 17] }, { shape: [3, 34] }],
      call: ([x, both]) => layerNormFork(x!, ...chunk(both!, 2, 1) as [Tensor, Tensor]),
    },
    {
      name: "of a gated branch, and what goes past",
      inputs: [{ shape: [3, 5, 17] }, { shape: [3, 51] }, { shape: [3, 5, 17], strided: true }],
      call: ([x, all, h]) => {
        const [shift, scale, gate] = chunk(all!, 3, 1) as [Tensor, Tensor, Tensor];
        return layerNormFork({ x: x!, gate, h: h! }, shift, scale);
      },
    },
    {
      name: "of a gated branch, of which what goes past is used",
      inputs: [
        { shape: [2, 3, 8] },
        { shape: [2, 8] },
        { shape: [2, 8] },
        { shape: [2, 8] },
        { shape: [2, 3, 8] },
      ],
      call: ([x, shift, scale, gate, h]) =>
        rmsNormFork({ x: x!, gate: gate!, h: h! }, shift!, scale!)[0],
    },
    {
      name: "of a gated branch, of which the norm is used",
      inputs: [
        { shape: [2, 3, 8], strided: true },
        { shape: [2, 8] },
        { shape: [2, 8] },
        { shape: [2, 8], strided: true },
        { shape: [2, 3, 8] },
      ],
      call: ([x, shift, scale, gate, h]) =>
        layerNormModulate({ x: x!, gate: gate!, h: h! }, shift!, scale!),
    },
    {
      name: "modulated, of which what goes past is used",
      inputs: [{ shape: [2, 3, 8] }, { shape: [2, 8] }, { shape: [2, 8] }],
      call: ([x, shift, scale]) => rmsNormFork(x!, shift!, scale!)[0],
    },
    {
      name: "modulated, of which the norm is used",
      inputs: [{ shape: [2, 3, 8] }, { shape: [2, 8] }, { shape: [2, 8] }],
      call: ([x, shift, scale]) => layerNormFork(x!, shift!, scale!)[1],
    },
  ],
});

/** dGate and dBranch from the gradient of the sum, row-major. */
function gradsOfGated(
  g: Tensor,
  gate: Tensor,
  x: Tensor,
  { dGate, dBranch: dx }: GatedGrads,
): void {
  if (dx.size > 0) dispatch("layerNorm", "gateGrad", x.device, { x, gate, g, dx, dGate });
  else fillInto(dGate, 0, "layerNorm");
}

/** x + gate h, to be summed up where it is normalised: x and h [B, T, N], gate [B, N]. */
export type GatedSum = {
  /** What goes past the branch. */
  readonly x: Tensor;
  /** One number a sample and channel. */
  readonly gate: Tensor;
  /** What the branch gives. */
  readonly h: Tensor;
};

/** Settings of {@link layerNorm}. */
export interface LayerNormOptions {
  /** [N], multiplied in; none by default. Both or neither of weight and bias. */
  weight?: Tensor | null;
  /** [N], added last; none by default. */
  bias?: Tensor | null;
  /** Added to the variance; 1e-6 as in DiT. */
  eps?: number;
}

/** The last dimension of x [..., N] to mean 0 and variance 1, then times weight plus bias. */
export function layerNorm(x: Tensor, options: LayerNormOptions = {}): Tensor {
  checkOptionNames("layerNorm", options, { weight: 1, bias: 1, eps: 1 });
  const { weight = null, bias = null, eps = 1e-6 } = options;
  checkOperands("layerNorm", [x, weight, bias], [1, 2]);
  checkSetting("layerNorm", "eps", eps, 0);
  const n = x.shape.at(-1);
  const fits = (t: Tensor | null) => !t || (t.rank === 1 && t.shape[0] === n);
  if (n === undefined || !fits(weight) || !fits(bias) || !weight !== !bias) {
    throw new ShapeError(
      `layerNorm: expected x [..., N] and weight and bias [N], both or neither, but got ${
        [x, weight, bias].map((t) => t ? shapeText(t.shape) : "none").join(", ")
      }`,
    );
  }
  const [rows] = rowsOf(x.shape);
  const kind = weight ? "affine" : "plain";
  const attrs = { eps, rows: [1, rows, n], kind, dtype: x.dtype, centred: true } as const;
  return callLayerNorm([x, weight, bias], attrs)[0]!;
}

/** Settings of {@link layerNormModulate} and {@link rmsNormModulate}. */
export interface ModulateOptions {
  /** Added to the variance, or the mean square; 1e-6 as in DiT. */
  eps?: number;
  /**
   * Whether products alone take the result, which autocast then stores as the f16 that they would
   * make of it; false by default.
   */
  intoProduct?: boolean;
}

/**
 * layerNorm(x) * (1 + scale) + shift for x [B, T, N] with one shift and scale [B, N] a sample:
 * the adaLN of DiT (arXiv 2212.09748) in one pass.
 */
export function layerNormModulate(
  x: Tensor | GatedSum,
  shift: Tensor,
  scale: Tensor,
  options: ModulateOptions = {},
): Tensor {
  return modulated("layerNormModulate", x, shift, scale, options, { centred: true }).at(-1)!;
}

/**
 * x itself and layerNormModulate of it, for a residual branch: the gradients that x gets from both
 * are added up in the kernel of the norm's. Of a gated sum, which is summed up in the kernel of the
 * norm, the sum and its norm.
 */
export function layerNormFork(
  x: Tensor | GatedSum,
  shift: Tensor,
  scale: Tensor,
  options: ModulateOptions = {},
): [x: Tensor, normed: Tensor] {
  const how = { centred: true, fork: true };
  return modulated("layerNormFork", x, shift, scale, options, how) as [Tensor, Tensor];
}

/** Settings of {@link rmsNorm}. */
export interface RmsNormOptions {
  /** [N], multiplied in; none by default. */
  weight?: Tensor | null;
  /** Added to the mean square; 1e-6 by default. */
  eps?: number;
}

/**
 * x / sqrt(mean(x^2) + eps) along the last dimension of x [..., N], then times weight: RMSNorm
 * (arXiv 1910.07467).
 */
export function rmsNorm(x: Tensor, options: RmsNormOptions = {}): Tensor {
  checkOptionNames("rmsNorm", options, { weight: 1, eps: 1 });
  const { weight = null, eps = 1e-6 } = options;
  checkOperands("rmsNorm", [x, weight], [1]);
  checkSetting("rmsNorm", "eps", eps, 0);
  const n = x.shape.at(-1);
  if (n === undefined || (weight && (weight.rank !== 1 || weight.shape[0] !== n))) {
    throw new ShapeError(
      `rmsNorm: expected x [..., N] and a weight [N] but got ${
        [x, weight].map((t) => t ? shapeText(t.shape) : "none").join(", ")
      }`,
    );
  }
  const [rows] = rowsOf(x.shape);
  const kind = weight ? "affine" : "plain";
  const attrs = { eps, rows: [1, rows, n], kind, dtype: x.dtype, centred: false } as const;
  return callLayerNorm([x, weight, null], attrs)[0]!;
}

/** rmsNorm(x) * (1 + scale) + shift for x [B, T, N], one shift and scale [B, N] a sample. */
export function rmsNormModulate(
  x: Tensor | GatedSum,
  shift: Tensor,
  scale: Tensor,
  options: ModulateOptions = {},
): Tensor {
  return modulated("rmsNormModulate", x, shift, scale, options, { centred: false }).at(-1)!;
}

/** x itself and rmsNormModulate of it, as {@link layerNormFork} has them. */
export function rmsNormFork(
  x: Tensor | GatedSum,
  shift: Tensor,
  scale: Tensor,
  options: ModulateOptions = {},
): [x: Tensor, normed: Tensor] {
  const how = { centred: false, fork: true };
  return modulated("rmsNormFork", x, shift, scale, options, how) as [Tensor, Tensor];
}

function modulated(
  op: string,
  given: Tensor | GatedSum,
  shift: Tensor,
  scale: Tensor,
  options: ModulateOptions,
  how: { readonly centred: boolean; readonly fork?: boolean },
): Tensor[] {
  checkOptionNames(op, options, { eps: 1, intoProduct: 1 });
  const isSum = typeof given === "object" && given !== null && "h" in given;
  const { x, gate, h } = isSum ? given : { x: given, gate: null, h: null };
  checkOperands(op, [x, shift, scale, gate, h], isSum ? [] : [3, 4]);
  const wanted = [x.shape[0]!, x.shape[2]!];
  const fits = x.rank === 3 &&
    [shift, scale, gate].every((t) => !t || sameShape(t.shape, wanted)) &&
    (!h || sameShape(h.shape, x.shape));
  if (!fits) {
    throw new ShapeError(
      `${op}: expected x [B, T, N], shift and scale [B, N]${
        h ? ", a gate [B, N] and h [B, T, N]" : ""
      } but got ${
        [x, shift, scale, gate, h].flatMap((t) => t ? shapeText(t.shape) : []).join(", ")
      }`,
    );
  }
  const rows = x.shape as unknown as readonly [number, number, number];
  const { eps = 1e-6, intoProduct: half = false } = options;
  checkSetting(op, "eps", eps, 0);
  const attrs = { eps, rows, kind: "modulate", dtype: x.dtype, half, ...how } as const;
  return callLayerNorm([x, shift, scale, gate, h], attrs);
}
