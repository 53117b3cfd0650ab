/**
 * A quick check of a device: one small case or two of every kernel, held to float64. It tells a
 * device that computes nonsense (experimental instructions of V8, a driver of a GPU) from one that
 * works before hours of work begin; that every kernel is right in every case is what the
 * conformance suite is for.
 */
import {
  type Backend,
  KERNEL_NAMES,
  type KernelArgs,
  type KernelName,
  type View,
} from "./backend.ts";
import { type DType, DTYPE_BYTES, type HostArray, hostArray, isFloat } from "./dtype.ts";
import { SelfTestError } from "./errors.ts";
import { constant, type Expr, program } from "./expr.ts";
import { contiguousStrides, type Shape, sizeOf } from "./shape.ts";
import type { Device } from "./storage.ts";

/** Limits of max|got - want| / max|want| by the type that a case's arrays have. */
const TOLERANCE = { f32: 1e-4, f16: 5e-3 } as const;

/** Makes the arrays of one case on one device: the same numbers on each. */
class Arrays {
  readonly outputs: View[] = [];
  readonly #backend: Backend;
  readonly #views: View[] = [];
  #state = 1;

  /** @param dtype what arrays are made of that may be f16 */
  constructor(backend: Backend, readonly dtype: "f32" | "f16") {
    this.#backend = backend;
  }

  /** An input of numbers in [low, high), f16 where the case is. */
  input(shape: Shape, low = -1, high = 1, dtype: DType = this.dtype): View {
    const view = this.#make(shape, dtype);
    const data = hostArray(dtype, sizeOf(shape));
    for (let i = 0; i < data.length; i++) {
      this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
      const value = low + (high - low) * (this.#state >>> 8) * 2 ** -24;
      data[i] = isFloat(dtype) ? value : Math.floor(value);
    }
    this.#backend.write(view.buffer, 0, data);
    return view;
  }

  /** As {@link input}, f32 whatever the case is. */
  single(shape: Shape, low?: number, high?: number): View {
    return this.input(shape, low, high, "f32");
  }

  /** An input that repeats along the first axis. */
  repeated(shape: Shape): View {
    const view = this.input(shape.slice(1));
    return { ...view, shape, strides: [0, ...view.strides] };
  }

  /** An input whose last two axes lie in memory the other way round. */
  transposed(shape: Shape): View {
    const order = [...shape.slice(0, -2), shape.at(-1)!, shape.at(-2)!];
    const view = this.input(order);
    const strides = [...view.strides.slice(0, -2), view.strides.at(-1)!, view.strides.at(-2)!];
    return { ...view, shape, strides };
  }

  /** An array that the kernel fills. */
  output(shape: Shape, dtype: DType = this.dtype): View {
    const view = this.#make(shape, dtype);
    this.#backend.write(view.buffer, 0, hostArray(dtype, sizeOf(shape)).fill(77));
    this.outputs.push(view);
    return view;
  }

  /** What the kernel has written, when it has. */
  read(): Promise<HostArray[]> {
    return Promise.all(
      this.outputs.map(({ buffer, dtype, shape }) =>
        this.#backend.read(buffer, dtype, 0, sizeOf(shape))
      ),
    );
  }

  free(): void {
    for (const { buffer } of this.#views) this.#backend.free(buffer);
  }

  #make(shape: Shape, dtype: DType): View {
    const buffer = this.#backend.alloc(Math.max(1, sizeOf(shape)) * DTYPE_BYTES[dtype], "selfTest");
    const view: View = { buffer, dtype, offset: 0, shape, strides: contiguousStrides(shape) };
    this.#views.push(view);
    return view;
  }
}

type Cases<K extends KernelName> = readonly ((arrays: Arrays) => KernelArgs[K])[];

const f32 = { kind: "input", ty: "f32" } as const;
const u32 = { kind: "input", ty: "u32" } as const;

/** Every operation that backends make code for, once, in sums that no part of can be lost from. */
const ARITHMETIC = program("selfTest.arithmetic", [f32, f32], (a, b) => {
  const positive = a!.abs().add(0.5);
  const sum = (...parts: Expr[]) => parts.reduce((x, y) => x.add(y));
  return [
    sum(a!.mul(b!).sub(a!.div(positive)), a!.min(b!), a!.max(b!).neg(), positive.sqrt()),
    sum(a!.mul(8).floor(), b!.mul(8).round(), a!.lt(b!).not().select(a!, b!)),
    sum(a!.exp2(), positive.log2(), a!.mul(4).sin(), b!.mul(2 ** 20).cos(), a!.erf()),
  ];
});
const INTEGERS = program("selfTest.integers", [u32, u32], (a, b) => {
  const mixed = a!.xor(b!.shl(3)).add(a!.shr(5)).sub(b!.and(0xff)).or(constant(6, "u32"));
  return [mixed.mul(b!), a!.mulhi(b!), a!.bits("i32").neg().bits("u32")];
});
const SQUARED_DIFFERENCE = program("selfTest.squaredDifference", [f32, f32], (a, b) => {
  const difference = a!.sub(b!);
  return difference.mul(difference);
});

/** The cases; a kernel without any does not compile. Sizes fill whole vectors and leave a rest. */
const CASES: { readonly [K in KernelName]: Cases<K> } = {
  elementwise: [
    (x) => ({
      program: ARITHMETIC,
      ins: [x.input([9, 67]), x.repeated([9, 67])],
      outs: [x.output([9, 67]), x.output([9, 67]), x.output([9, 67])],
      scalars: [],
    }),
    (x) => ({
      program: INTEGERS,
      ins: [x.input([83], 0, 2 ** 32, "u32"), x.input([83], 0, 2 ** 32, "u32")],
      outs: [x.output([83], "u32"), x.output([83], "u32"), x.output([83], "u32")],
      scalars: [],
    }),
  ],
  reduce: ([[5, 67, 1], [2, 37, 19]] as const).map((shape) => (x) => ({
    op: "sum",
    program: SQUARED_DIFFERENCE,
    ins: [x.input(shape), x.repeated(shape)],
    scalars: [],
    out: x.output([shape[0], shape[2]], "f32"),
  })),
  argReduce: [(x) => ({ op: "max", x: x.input([3, 37, 5]), out: x.output([3, 5], "i32") })],
  cumsum: [(x) => ({ x: x.input([2, 70, 5]), out: x.output([2, 70, 5]), reverse: true })],
  matmul: [
    (x) => ({
      a: x.input([1, 1, 48, 40]),
      b: x.transposed([1, 1, 40, 64]),
      bias: x.input([64]),
      activation: "gelu",
      pre: x.output([1, 1, 48, 64]),
      out: x.output([1, 1, 48, 64]),
      accumulate: false,
    }),
    (x) => ({
      a: x.transposed([2, 1, 7, 33]),
      b: x.input([2, 1, 33, 19]),
      bias: null,
      activation: "none",
      pre: null,
      out: x.output([2, 1, 7, 19]),
      accumulate: false,
    }),
  ],
  softmax: [false, true].map((log) => (x) => ({
    x: x.input([5, 67], -5, 5),
    out: x.output([5, 67]),
    log,
  })),
  softmaxGrad: [false, true].map((log) => (x) => ({
    y: x.input([5, 67]),
    g: x.input([5, 67]),
    out: x.output([5, 67]),
    log,
  })),
  layerNorm: [(x) => ({
    x: x.input([2, 5, 67]),
    weight: null,
    bias: null,
    scale: x.input([2, 67]),
    shift: x.input([2, 67]),
    eps: 1e-6,
    out: x.output([2, 5, 67]),
    mean: x.output([2, 5], "f32"),
    rstd: x.output([2, 5], "f32"),
  })],
  layerNormGrad: [
    (x) => ({
      ...normalized(x),
      weight: null,
      scale: x.input([2, 67]),
      dWeight: null,
      dBias: null,
      dScale: x.output([2, 67]),
      dShift: x.output([2, 67]),
    }),
    (x) => ({
      ...normalized(x),
      weight: x.input([67]),
      scale: null,
      dWeight: x.output([67]),
      dBias: x.output([67]),
      dScale: null,
      dShift: null,
    }),
  ],
  groupNorm: [(x) => ({
    x: x.input([2, 6, 35]),
    weight: x.input([6]),
    bias: x.input([6]),
    groups: 3,
    eps: 1e-6,
    silu: true,
    out: x.output([2, 6, 35]),
    mean: x.output([2, 3], "f32"),
    rstd: x.output([2, 3], "f32"),
  })],
  groupNormGrad: [(x) => ({
    x: x.input([2, 6, 35]),
    g: x.input([2, 6, 35]),
    weight: x.input([6]),
    bias: x.input([6]),
    groups: 3,
    silu: true,
    mean: x.single([2, 3]),
    rstd: x.single([2, 3], 1, 2),
    dx: x.output([2, 6, 35]),
    dWeight: x.output([6]),
    dBias: x.output([6]),
  })],
  conv2d: [(x) => ({
    x: x.input([2, 5, 9, 7]),
    w: x.input([6, 5, 3, 3]),
    bias: x.input([6]),
    stride: 1,
    padTop: 1,
    padLeft: 1,
    dilation: 1,
    out: x.output([2, 6, 9, 7]),
  })],
  conv2dGradWeight: [(x) => ({
    x: x.input([2, 5, 9, 7]),
    g: x.input([2, 6, 9, 7]),
    stride: 1,
    padTop: 1,
    padLeft: 1,
    out: x.output([6, 5, 3, 3]),
  })],
  attention: [(x) => ({
    q: x.input([1, 2, 19, 16]),
    k: x.input([1, 2, 23, 16]),
    v: x.input([1, 2, 23, 16]),
    scale: 0.25,
    out: x.output([1, 2, 19, 16]),
    stats: x.output([1, 2, 19, 2], "f32"),
  })],
  attentionGrad: [(x) => ({
    q: x.input([1, 2, 19, 16], -0.1, 0.1),
    k: x.input([1, 2, 23, 16]),
    v: x.input([1, 2, 23, 16]),
    out: x.input([1, 2, 19, 16]),
    stats: x.single([1, 2, 19, 2], 1.6, 2), // no score is larger
    g: x.input([1, 2, 19, 16]),
    scale: 0.25,
    dq: x.output([1, 2, 19, 16]),
    dk: x.output([1, 2, 23, 16]),
    dv: x.output([1, 2, 23, 16]),
  })],
  gather: [(x) => ({
    table: x.input([9, 13]),
    index: x.input([7], 0, 9, "i32"),
    out: x.output([7, 13]),
  })],
  scatterAdd: [(x) => ({
    g: x.input([31, 13]),
    index: x.input([31], 0, 9, "i32"),
    out: x.output([9, 13]),
  })],
};

/** What both kinds of layerNormGrad are given. */
function normalized(
  x: Arrays,
): Pick<KernelArgs["layerNormGrad"], "x" | "g" | "mean" | "rstd" | "dx"> {
  return {
    x: x.input([2, 5, 67]),
    g: x.input([2, 5, 67]),
    mean: x.single([2, 5]),
    rstd: x.single([2, 5], 1, 2),
    dx: x.output([2, 5, 67]),
  };
}

/** Largest |got - want| over the largest |want|; infinite where one of them is not a number. */
function errorOf(got: HostArray, want: HostArray): number {
  let [worst, largest] = [0, 0];
  for (let i = 0; i < want.length; i++) {
    largest = Math.max(largest, Math.abs(want[i]!));
    const off = Math.abs(got[i]! - want[i]!);
    worst = Number.isNaN(off) ? Infinity : Math.max(worst, off);
  }
  return worst / (largest || 1);
}

/** Starts a case, and reads what it wrote once it is done. */
function start<K extends KernelName>(
  backend: Backend,
  kernel: K,
  build: Cases<K>[number],
  dtype: "f32" | "f16",
): Promise<HostArray[]> {
  const arrays = new Arrays(backend, dtype);
  try {
    backend.run(kernel, build(arrays), "selfTest");
    return arrays.read();
  } finally {
    arrays.free(); // for work that comes later
  }
}

/** Tries all cases of a kernel at once. */
async function tryKernel<K extends KernelName>(
  backend: Backend,
  reference: Backend,
  kernel: K,
): Promise<void> {
  const dtypes = backend.halfKernels.has(kernel) ? ["f32", "f16"] as const : ["f32"] as const;
  await Promise.all(dtypes.flatMap((dtype) =>
    CASES[kernel].map(async (build) => {
      const got = await start(backend, kernel, build, dtype);
      const want = await start(reference, kernel, build, dtype);
      const off = Math.max(...want.map((values, i) => errorOf(got[i]!, values)));
      if (off <= TOLERANCE[dtype]) return;
      throw new SelfTestError(
        `${backend.description}: kernel ${kernel} gives wrong numbers in ${dtype}: expected ` +
          `errors of at most ${TOLERANCE[dtype]} but got ${off}`,
      );
    })
  ));
}

/**
 * Enough where a CPU stands in for a GPU, for trying things out: to compile all kernels takes it
 * half a minute, which GPUs do in less than a second.
 */
const FEW: readonly KernelName[] = ["elementwise", "matmul"];

/**
 * Tries the kernels of a device, in f16 too where it reads that itself, and compares with float64.
 *
 * @param kernels by default all, or {@link FEW} of a GPU that is software
 * @throws {SelfTestError} that names the first kernel that failed or gave wrong numbers.
 */
export async function selfTest(
  { backend }: Device,
  kernels: readonly KernelName[] = backend.isSoftware ? FEW : KERNEL_NAMES,
): Promise<void> {
  const { createReferenceBackend } = await import("./reference/backend.ts");
  const reference = createReferenceBackend();
  // All at once, as each wait for a GPU takes long; one by one where something is wrong.
  const all = await Promise.allSettled(kernels.map((name) => tryKernel(backend, reference, name)));
  if (all.every(({ status }) => status === "fulfilled")) return;
  for (const kernel of kernels) {
    try {
      await tryKernel(backend, reference, kernel);
    } catch (error) {
      if (error instanceof SelfTestError) throw error;
      const message = error instanceof Error ? error.message : String(error);
      throw new SelfTestError(`${backend.description}: kernel ${kernel} failed: ${message}`, {
        cause: error,
      });
    }
  }
  throw all.find((outcome) => outcome.status === "rejected")!.reason;
}
