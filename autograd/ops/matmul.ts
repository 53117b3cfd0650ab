/** Matrix products; their gradients are products too, with transposes as strides. */
import {
  type Activation,
  checkOperands,
  checkOptionNames,
  commonFloat,
  copy,
  empty,
  evaluateOne,
  type Formula,
  permuted,
  product,
  reduceKeep,
  reshaped,
  ShapeError,
  shapeText,
  sizeOf,
  sumTo,
  type Tensor,
} from "../../tensor/mod.ts";
import { autocastDtype } from "../modes.ts";
import { defineOp } from "../op.ts";
import type { Places } from "../tape.ts";
import "./elementwise.ts"; // declares the activations
import { rowOf } from "./define_elementwise.ts";
import { transpose } from "./shape.ts";

/** `x` with its last two dimensions swapped, without moving elements. */
export function flipped(x: Tensor): Tensor {
  const axes = x.shape.map((_, i) => i);
  return permuted(x, [...axes.slice(0, -2), x.rank - 1, x.rank - 2]);
}

/** `x` [..., N] as [rows, N]. */
export function rowsOf(x: Tensor): Tensor {
  return reshaped(x, [sizeOf(x.shape.slice(0, -1)), x.shape.at(-1)!]);
}

const callMatmul = defineOp<null, readonly [Tensor, Tensor]>({
  name: "matmul",
  cast: "half",
  forward: ([a, b]) => ({ out: product("matmul", a!, b!).out, saved: [a!, b!] }),
  backward: ([g], [a, b], _, needs) => {
    const gradA = () => {
      using bt = flipped(b);
      using full = product("matmul", g!, bt).out;
      return sumTo(full, a.shape, "matmul");
    };
    const gradB = () => {
      if (b.rank === 2 && a.rank > 2) { // one product over the whole batch, not one for each
        using rows = rowsOf(a);
        using grads = rowsOf(g!);
        using at = flipped(rows);
        return product("matmul", at, grads).out;
      }
      using at = flipped(a);
      using full = product("matmul", at, g!).out;
      return sumTo(full, b.shape, "matmul");
    };
    return [needs[0] ? gradA() : null, needs[1] ? gradB() : null];
  },
  samples: [
    {
      name: "17x33x29",
      inputs: [{ shape: [17, 33] }, { shape: [33, 29] }],
      call: ([a, b]) => matmul(a!, b!),
    },
    {
      name: "1x1x1",
      inputs: [{ shape: [1, 1] }, { shape: [1, 1] }],
      call: ([a, b]) => matmul(a!, b!),
    },
    {
      name: "transposed operands",
      inputs: [{ shape: [3, 9, 17] }, { shape: [3, 33, 9] }],
      call: ([a, b]) => matmul(a!, b!, { transposeA: true, transposeB: true }),
    },
    {
      name: "broadcast batch",
      inputs: [{ shape: [2, 3, 5, 7] }, { shape: [7, 4] }],
      call: ([a, b]) => matmul(a!, b!),
    },
    {
      name: "batch of strided views",
      inputs: [{ shape: [2, 3, 5, 7], strided: true }, { shape: [2, 1, 7, 4], strided: true }],
      call: ([a, b]) => matmul(a!, b!),
    },
  ],
});

/** Which operands are given with their last two dimensions swapped. */
export interface MatmulOptions {
  /** Whether a is [..., K, M]; false by default. */
  transposeA?: boolean;
  /** Whether b is [..., N, K]; false by default. */
  transposeB?: boolean;
}

/**
 * a b for a [..., M, K] and b [..., K, N]; batch dimensions broadcast.
 *
 * @throws {ShapeError} where the inner dimensions differ, or an operand has fewer than two.
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  checkOperands("matmul", [a, b]);
  checkOptionNames("matmul", options, { transposeA: 1, transposeB: 1 });
  if (a.rank < 2 || b.rank < 2) {
    throw new ShapeError(
      `matmul: expected [..., M, K] and [..., K, N] but got ${shapeText(a.shape)} and ${
        shapeText(b.shape)
      }`,
    );
  }
  if (autocastDtype() === null) commonFloat("matmul", [a, b]);
  const x = options.transposeA ? transpose(a) : a;
  const y = options.transposeB ? transpose(b) : b;
  return callMatmul([x, y], null)[0]!;
}

/** Activations that do something. */
export type Nonlinear = Exclude<Activation, "none">;

function gradientAt(activation: Nonlinear): Formula {
  // the row of relu reads its result, which has the sign of what went in
  const slope = rowOf(activation).grads[0]!;
  return { name: `${activation}'`, build: (g, x) => slope(g!, [x!], x!) };
}
/** [g, pre]: the gradient of an activation's result, as that of what went in. */
export const ACTIVATION_GRADS: { readonly [A in Nonlinear]: Formula } = {
  relu: gradientAt("relu"),
  silu: gradientAt("silu"),
  gelu: gradientAt("gelu"),
  geluTanh: gradientAt("geluTanh"),
};

/** What is asked of the gradients of a linear layer. */
interface LinearGradOptions {
  /** Which are wanted: of x, the weight, the bias. */
  readonly needs: readonly [boolean, boolean, boolean];
  /** Where that of the weight (0) and of the bias (1) may be written. */
  readonly into: Places;
  /** Whether weight and bias are f16 copies of f32 ones. */
  readonly half: boolean;
  /** What the layer read x through; nothing by default. */
  readonly through?: Activation;
}

/**
 * Gradients of x [..., I], or of what it was read through, w [O, I] and a bias [O], from that of
 * x Wᵀ + b, dz [rows, O].
 */
export function linearGrads(
  op: string,
  dz: Tensor,
  x: Tensor,
  w: Tensor,
  { needs: [needsX, needsW, needsB], into, half, through = "none" }: LinearGradOptions,
): [Tensor | null, Tensor | null, Tensor | null] {
  const outputs = w.shape[0]!;
  const placeOf = (i: number) => {
    const place = into(i);
    return place?.dtype === "f32" && place.contiguous ? place : null;
  };
  const [intoW, intoB] = [needsW ? placeOf(0) : null, needsB ? placeOf(1) : null];
  // the sums of dz come along with the product that reads all of it
  const sums = needsB && needsW && w.size > 0
    ? intoB ?? empty(dz.device, "f32", [outputs], op)
    : null;
  const gradX = () => {
    using flat = product(op, dz, w, { dtype: x.dtype as "f32" | "f16" }).out;
    return reshaped(flat, x.shape);
  };
  const gradW = () => {
    using inputs = rowsOf(x);
    using dzt = flipped(dz);
    return product(op, dzt, inputs, { into: intoW, sums, activationB: through }).out;
  };
  const gradB = () => {
    if (sums) return intoB || half || dz.dtype === "f32" ? sums : copy(sums, dz.dtype, op);
    using kept = reduceKeep(op, "sum", null, [dz], [0], { into: intoB });
    return reshaped(kept, [outputs]);
  };
  return [needsX ? gradX() : null, needsW ? gradW() : null, needsB ? gradB() : null];
}

const callLinear = defineOp<
  { activation: Activation; bias: boolean; half: boolean },
  readonly [Tensor, Tensor, Tensor | null]
>({
  name: "linear",
  cast: "halfWeights",
  forward: ([x, w, bias], { activation, half }, recording) => {
    using wt = flipped(w!);
    using rows = rowsOf(x!);
    const keepPre = recording && activation !== "none";
    const { out, pre } = product("linear", rows, wt, {
      bias: bias ?? null,
      activation,
      keepPre,
      ...half ? { dtype: "f16" } : {},
    });
    const shape = [...x!.shape.slice(0, -1), w!.shape[0]!];
    using flat = out;
    return { out: reshaped(flat, shape), saved: [x!, w!, pre] };
  },
  backward: ([g], [x, w, pre], { activation, bias, half }, needs, into) => {
    using rows = rowsOf(g!);
    using slope = activation === "none"
      ? null
      : evaluateOne("linear", ACTIVATION_GRADS[activation], [rows, pre!]);
    return linearGrads("linear", slope ?? rows, x, w, {
      needs: [needs[0]!, needs[1]!, bias && needs[2]!],
      into: (i) => into(i + 1),
      half,
    });
  },
  samples: (["none", "relu", "silu", "gelu", "geluTanh"] as const).flatMap((activation) => [
    {
      name: `with bias, ${activation}`,
      inputs: [{ shape: [3, 17, 33] }, { shape: [29, 33] }, { shape: [29] }],
      call: ([x, w, b]: Tensor[]) => linear(x!, w!, b, { activation }),
    },
    {
      name: `one row, no bias, ${activation}`,
      inputs: [{ shape: [33], strided: true }, { shape: [7, 33], strided: true }],
      call: ([x, w]: Tensor[]) => linear(x!, w!, null, { activation }),
    },
  ]),
});

const ACTIVATIONS: Readonly<Record<Activation, true>> = {
  none: true,
  relu: true,
  silu: true,
  gelu: true,
  geluTanh: true,
};

/** What a linear layer does to its result. */
export interface LinearOptions {
  /** Applied inside the product's kernel. */
  activation?: Activation;
}

/**
 * activation(x Wᵀ + b) for x [..., I], w [O, I], bias [O]: [..., O]. Weight and bias may be f16
 * where x is f32 (weights stored to be used, not trained); the result has the type of x.
 *
 * @throws {ShapeError} where the shapes do not fit.
 */
export function linear(
  x: Tensor,
  w: Tensor,
  bias: Tensor | null = null,
  options: LinearOptions = {},
): Tensor {
  checkOperands("linear", [x, w, bias], [2]);
  const fits = w.rank === 2 && x.rank >= 1 && x.shape.at(-1) === w.shape[1] &&
    (!bias || (bias.rank === 1 && bias.shape[0] === w.shape[0]));
  if (!fits) {
    throw new ShapeError(
      `linear: expected x [..., I], w [O, I] and bias [O] but got ${shapeText(x.shape)}, ${
        shapeText(w.shape)
      }${bias ? ` and ${shapeText(bias.shape)}` : ""}`,
    );
  }
  checkOptionNames("linear", options, { activation: 1 });
  const { activation = "none" } = options;
  if (!Object.hasOwn(ACTIVATIONS, activation)) {
    throw new RangeError(
      `linear: expected activation ${Object.keys(ACTIVATIONS).join(", ")} but got ${activation}`,
    );
  }
  const half = autocastDtype() !== null;
  return callLinear([x, w, bias], { activation, bias: bias !== null, half })[0]!;
}
