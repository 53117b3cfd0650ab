/**
 * What kernels compute: the contract that every device keeps, and that the reference says in the
 * plainest loops.
 */
import type { Program } from "./expr.ts";
import type { View } from "./view.ts";

/** Functions a matrix product can apply to its result. */
export type Activation = "none" | "relu" | "silu" | "gelu" | "geluTanh";

/**
 * Every kernel and its arguments. Shapes are as written; `contiguous` means row-major without
 * gaps (an offset is allowed). Unless noted, inputs may have any strides, arrays are f32, outputs
 * are contiguous and share no memory with inputs. No dimension is 0: launchers answer those.
 */
export interface KernelArgs {
  /**
   * `outs[k][i] = program.outs[k](ins[..][i], scalars)`. All views have the same shape (broadcast
   * inputs have stride 0). Outputs may be strided windows (concat, pad) of any dtype whose compute
   * type is the expression's, and may be the very same view as an input (in-place update).
   */
  elementwise: { program: Program; ins: View[]; outs: View[]; scalars: number[] };
  /**
   * Reduces the middle axis of [O, R, I] to [O, I]: each element is `program.outs[0]` of `ins`,
   * then sum, max or min of f32 (max and min: NaN wins), into an f32 `out`. The order of additions
   * depends on shape and strides only, and error must grow slower than plain one-by-one summation.
   */
  reduce: {
    op: "sum" | "max" | "min";
    program: Program;
    ins: View[];
    scalars: number[];
    out: View;
  };
  /** Index (i32) of the first largest or smallest along the middle axis of [O, R, I]: [O, I]. */
  argReduce: { op: "max" | "min"; x: View; out: View };
  /**
   * Running sum along the middle axis of [O, R, I]; from the end where `reverse`. Its error, too,
   * must grow slower than that of plain one-by-one summation.
   */
  cumsum: { x: View; out: View; reverse: boolean };
  /**
   * `out[b, c] = activation(a[b, c] . b[b, c] + bias)` with a [B, C, M, K], b [B, C, K, N],
   * bias [N], out [B, C, M, N] (unit inner stride, other strides free). Transposes and broadcast
   * batches are strides. `pre` takes the value before the activation (shaped like `out`,
   * contiguous). Where `accumulate`, the product is added to `out` (no activation then, and no
   * `combine`). `combine`, a program without scalars, makes the result of what there would be else
   * and of `operand` (shaped like `out`, contiguous). `sums` [B, C, M], f32 and contiguous, takes
   * the sums of each row of a. a, b, bias, out, pre and operand may each be f32 or f16; sums are
   * f32. `activationA` and `activationB` are applied to elements of a and b as they are read: where
   * those of a are, there are no `sums`.
   */
  matmul: {
    a: View;
    b: View;
    activationA?: Activation;
    activationB?: Activation;
    bias: View | null;
    activation: Activation;
    pre: View | null;
    combine?: Program | null;
    operand?: View | null;
    sums?: View | null;
    out: View;
    accumulate: boolean;
  };
  /** Softmax, or its logarithm, of contiguous rows [R, N]. */
  softmax: { x: View; out: View; log: boolean };
  /** Gradient from the output `y` and its gradient `g`, contiguous rows [R, N]. */
  softmaxGrad: { y: View; g: View; out: View; log: boolean };
  /**
   * Rows of x [B, T, N], contiguous, to mean 0 and variance 1 (biased, two passes), then
   * `* weight + bias` ([N]) or `* (1 + scale) + shift` ([B, N], unit inner stride), whichever is
   * given. `mean` and `rstd` [B, T] are kept for the gradient. Where it is not `centred` the mean is
   * taken to be 0: RMSNorm (arXiv 1910.07467). Where there is a `branch` [B, T, N], contiguous, with
   * its `gate` [B, N] (unit inner stride), x + gate * branch is normalised instead of x, and written
   * to `summed`, shaped like x.
   */
  layerNorm: {
    x: View;
    branch?: View | null;
    gate?: View | null;
    summed?: View | null;
    weight: View | null;
    bias: View | null;
    scale: View | null;
    shift: View | null;
    eps: number;
    centred: boolean;
    out: View;
    mean: View;
    rstd: View;
  };
  /**
   * Gradients of layerNorm: dx always; dWeight and dBias [N] where weight is given, dScale and
   * dShift [B, N] (unit inner stride) where scale is; `mean` is 0 where it is not `centred`.
   * `residual` [B, T, N], contiguous, is added to dx: what reaches x past the norm. Where x is what
   * layerNorm summed up, the gradients of what it added are dBranch = dx gate and dGate = the sums of
   * dx branch over T, laid out as branch and gate are.
   */
  layerNormGrad: {
    x: View;
    g: View;
    weight: View | null;
    scale: View | null;
    centred: boolean;
    mean: View;
    rstd: View;
    residual?: View | null;
    branch?: View | null;
    gate?: View | null;
    dx: View;
    dBranch?: View | null;
    dGate?: View | null;
    dWeight: View | null;
    dBias: View | null;
    dScale: View | null;
    dShift: View | null;
  };
  /**
   * Gradients of `gate * x` for gate [B, N] and x [B, T, N] from g, shaped like x: dx = g gate and
   * dGate = the sums of g x over T. Arrays of three dimensions are contiguous, the others have unit
   * inner stride.
   */
  gateGrad: { x: View; gate: View; g: View; dx: View; dGate: View };
  /**
   * x [N, C, S] contiguous, each of `groups` groups of channels of a sample to mean 0 and variance
   * 1 (biased, two passes), times weight plus bias ([C]), through SiLU where `silu`. `mean` and
   * `rstd` are [N, groups].
   */
  groupNorm: {
    x: View;
    weight: View;
    bias: View;
    groups: number;
    eps: number;
    silu: boolean;
    out: View;
    mean: View;
    rstd: View;
  };
  /** Gradients of groupNorm, through SiLU where `silu`: dx like x, dWeight and dBias [C]. */
  groupNormGrad: {
    x: View;
    g: View;
    weight: View;
    bias: View;
    groups: number;
    silu: boolean;
    mean: View;
    rstd: View;
    dx: View;
    dWeight: View;
    dBias: View;
  };
  /**
   * Cross-correlation of x [N, Ci, H, W] with w [Co, Ci, KH, KW] plus bias [Co] into out
   * [N, Co, OH, OW], all contiguous. out[.., oy, ox] reads x at (oy * stride + ky - padTop) /
   * dilation (and likewise across), 0 outside the image or between its pixels. `dilation` over 1
   * spreads the *input* (for the gradient of a strided convolution); padding may be negative.
   */
  conv2d: {
    x: View;
    w: View;
    bias: View | null;
    stride: number;
    padTop: number;
    padLeft: number;
    dilation: number;
    out: View;
  };
  /** Gradient of conv2d (dilation 1) by its weight: from x and g [N, Co, OH, OW], contiguous. */
  conv2dGradWeight: {
    x: View;
    g: View;
    stride: number;
    padTop: number;
    padLeft: number;
    out: View;
  };
  /**
   * softmax(q kᵀ · scale) v for q [B, H, Tq, D], k and v [B, H, Tk, D], out [B, H, Tq, D], all
   * with unit inner stride and otherwise free strides; scale is 0 or more. `stats` [B, H, Tq, 2]
   * contiguous takes each row's largest product of q and k, m, and log(sum(exp((q kᵀ - m) scale))):
   * their log-sum-exp alone would lose the sum beside a large score. Scores are never stored whole.
   */
  attention: { q: View; k: View; v: View; scale: number; out: View; stats: View };
  /** Gradients of attention, recomputing the scores. Same layouts; g is shaped like out. */
  attentionGrad: {
    q: View;
    k: View;
    v: View;
    out: View;
    stats: View;
    g: View;
    scale: number;
    dq: View;
    dk: View;
    dv: View;
  };
  /**
   * Neighbours of x [B, T, H, D] (unit inner stride, D even) as pairs that are turned by an angle a
   * token: (a, b) becomes (a cos - b sin, b cos + a sin), backwards where `inverse`. `cosine` and
   * `sine` are [T, D], contiguous, each value twice: of the first and of the second of a pair. out
   * has unit inner stride, as part of a larger array if need be.
   */
  rotary: { x: View; cosine: View; sine: View; inverse: boolean; out: View };
  /** Rows `index` (i32 or u32, [L] contiguous) of table [V, D] (unit inner stride): out [L, D]. */
  gather: { table: View; index: View; out: View };
  /** out [V, D] = sums of the rows of g [L, D] contiguous that share an index; repeatable. */
  scatterAdd: { g: View; index: View; out: View };
}

/** The name of a kernel. */
export type KernelName = keyof KernelArgs;

/** Arguments of a kernel that are arrays, or lists of them. */
export type ArrayName<K extends KernelName> = {
  [P in keyof KernelArgs[K]]-?: View extends KernelArgs[K][P] ? P
    : View[] extends KernelArgs[K][P] ? P
    : never;
}[keyof KernelArgs[K]];

/** What a kernel does with an array; `accumulate`: adds to it where its argument of that name is true. */
export type ArrayUse = "read" | "write" | "accumulate";

type ArrayUses<K extends KernelName> = {
  readonly [P in ArrayName<K>]: KernelArgs[K] extends { accumulate: boolean } ? ArrayUse
    : Exclude<ArrayUse, "accumulate">;
};

/** What is known of a kernel beside its arguments. */
export interface KernelDescriptor<K extends KernelName> {
  /** What it does with each of its arrays. */
  readonly arrays: ArrayUses<K>;
  /** Whether an output may be the very same view as an input. */
  readonly inPlace?: boolean;
  /**
   * Where its work can be divided: for each axis, outermost first, the arrays to cut along it. The
   * other arrays are whole in each part; those of them that are written are sums over the parts.
   */
  readonly cut: readonly (readonly ArrayName<K>[])[];
}

/**
 * Every kernel: the one list that tables, checks and tests derive from. A kernel or an array that is
 * missing here does not compile.
 */
export const KERNELS: { readonly [K in KernelName]: KernelDescriptor<K> } = {
  // Any axis of an elementwise kernel can be cut, the free ones of a reduction: see their launchers.
  elementwise: { arrays: { ins: "read", outs: "write" }, inPlace: true, cut: [] },
  reduce: { arrays: { ins: "read", out: "write" }, cut: [] },
  argReduce: { arrays: { x: "read", out: "write" }, cut: [] },
  cumsum: { arrays: { x: "read", out: "write" }, cut: [] },
  matmul: {
    arrays: {
      a: "read",
      b: "read",
      bias: "read",
      pre: "write",
      operand: "read",
      sums: "write",
      out: "accumulate",
    },
    cut: [
      ["a", "b", "out", "pre", "operand", "sums"],
      ["a", "b", "out", "pre", "operand", "sums"],
      ["a", "out", "pre", "operand", "sums"],
    ],
  },
  softmax: { arrays: { x: "read", out: "write" }, cut: [["x", "out"]] },
  softmaxGrad: { arrays: { y: "read", g: "read", out: "write" }, cut: [["y", "g", "out"]] },
  rotary: {
    arrays: { x: "read", cosine: "read", sine: "read", out: "write" },
    cut: [["x", "out"], ["x", "cosine", "sine", "out"], ["x", "out"]],
  },
  layerNorm: {
    arrays: {
      x: "read",
      weight: "read",
      bias: "read",
      scale: "read",
      shift: "read",
      branch: "read",
      gate: "read",
      summed: "write",
      out: "write",
      mean: "write",
      rstd: "write",
    },
    cut: [
      ["x", "out", "mean", "rstd", "scale", "shift", "branch", "gate", "summed"],
      ["x", "out", "mean", "rstd", "branch", "summed"],
    ],
  },
  layerNormGrad: {
    arrays: {
      x: "read",
      g: "read",
      weight: "read",
      scale: "read",
      mean: "read",
      rstd: "read",
      residual: "read",
      branch: "read",
      gate: "read",
      dx: "write",
      dBranch: "write",
      dGate: "write",
      dWeight: "write",
      dBias: "write",
      dScale: "write",
      dShift: "write",
    },
    cut: [
      [
        "x",
        "g",
        "mean",
        "rstd",
        "residual",
        "branch",
        "dx",
        "dBranch",
        "scale",
        "gate",
        "dScale",
        "dShift",
        "dGate",
      ],
      ["x", "g", "mean", "rstd", "residual", "branch", "dx", "dBranch"],
    ],
  },
  gateGrad: {
    arrays: { x: "read", gate: "read", g: "read", dx: "write", dGate: "write" },
    cut: [["x", "g", "dx", "gate", "dGate"], ["x", "g", "dx"]],
  },
  groupNorm: {
    arrays: {
      x: "read",
      weight: "read",
      bias: "read",
      out: "write",
      mean: "write",
      rstd: "write",
    },
    cut: [["x", "out", "mean", "rstd"]],
  },
  groupNormGrad: {
    arrays: {
      x: "read",
      g: "read",
      weight: "read",
      bias: "read",
      mean: "read",
      rstd: "read",
      dx: "write",
      dWeight: "write",
      dBias: "write",
    },
    cut: [["x", "g", "mean", "rstd", "dx"]],
  },
  conv2d: {
    arrays: { x: "read", w: "read", bias: "read", out: "write" },
    cut: [["x", "out"]],
  },
  conv2dGradWeight: { arrays: { x: "read", g: "read", out: "write" }, cut: [["x", "g"]] },
  attention: {
    arrays: { q: "read", k: "read", v: "read", out: "write", stats: "write" },
    cut: [["q", "k", "v", "out", "stats"], ["q", "k", "v", "out", "stats"]],
  },
  attentionGrad: {
    arrays: {
      q: "read",
      k: "read",
      v: "read",
      out: "read",
      stats: "read",
      g: "read",
      dq: "write",
      dk: "write",
      dv: "write",
    },
    cut: [
      ["q", "k", "v", "out", "stats", "g", "dq", "dk", "dv"],
      ["q", "k", "v", "out", "stats", "g", "dq", "dk", "dv"],
    ],
  },
  gather: { arrays: { table: "read", index: "read", out: "write" }, cut: [] },
  scatterAdd: { arrays: { g: "read", index: "read", out: "write" }, cut: [] },
};

/** The names of all kernels. */
export const KERNEL_NAMES: readonly KernelName[] = Object.keys(KERNELS) as KernelName[];

/** One implementation a kernel, on what `Runtime` is; a missing one does not compile. */
export type KernelTable<Runtime> = {
  readonly [K in KernelName]: (runtime: Runtime, args: KernelArgs[K], op: string) => void;
};
