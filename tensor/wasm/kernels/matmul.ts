/**
 * Matrix products. The blocked product of `gemm.ts` on each piece of a grid of batches, rows and
 * columns, which threads claim one by one.
 */
import type { Activation, KernelArgs } from "../../kernels.ts";
import type { View } from "../../view.ts";
import { DTYPE_BYTES } from "../../dtype.ts";
import { program } from "../../expr.ts";
import { claimChunks, kernel } from "../emit/abi.ts";
import { type Func, I32, I64, Module } from "../emit/assembler.ts";
import { activatePanels } from "./activate_panels.ts";
import { elementwise } from "./elementwise.ts";
import { ACTIVATIONS, FINISH } from "./epilogue.ts";
import { addProduct, emitProduct } from "./gemm.ts";
import { packPanels } from "./pack.ts";
import { PLAN, planLocals, planProduct } from "./product_plan.ts";
import { itself, reduce } from "./reduce.ts";
import type { WasmRuntime } from "../device/runtime.ts";
import { Slots } from "../emit/slots.ts";
import type { Tier } from "../device/tier.ts";

/** Distances are in bytes, and a dtype is 1 for float16, else 0. */
// deno-fmt-ignore
const SLOTS = new Slots([
  "inner", "a", "aOuter", "aInner", "aRow", "aColumn", "aHalf",
  "b", "bOuter", "bInner", "bRow", "bColumn", "bHalf",
  "out", "outOuter", "outInner", "outRow", "outHalf", "accumulate",
  "aStride", "aAcross", "bStride", "activationA", "activationB",
  "finishes", "activation", "bias", "biasHalf", "pre", "preHalf",
], [], PLAN.end);

function build(tier: Tier): Module {
  const module = new Module();
  const code = addProduct(module, tier, true);
  const { tile } = code;
  const packA = {
    f32: packPanels(module, tier, tile.rows),
    f16: packPanels(module, tier, tile.rows, "f16"),
  };
  const packB = {
    f32: packPanels(module, tier, tile.cols),
    f16: packPanels(module, tier, tile.cols, "f16"),
  };
  const activatedA = activatePanels(module, tile.rows);
  const activatedB = activatePanels(module, tile.cols);
  const f = kernel("matmul");
  const slots = SLOTS.of(f);
  const { blocks, m, n, finish: job, block, pieces, piece } = planLocals(f);
  const inner = slots.i64("inner");
  const a = slots.i64("a"), aRow = slots.i64("aRow"), aColumn = slots.i64("aColumn");
  const b = slots.i64("b"), bRow = slots.i64("bRow"), bColumn = slots.i64("bColumn");
  const out = slots.i64("out"), outRow = slots.i64("outRow");
  const bias = slots.i64("bias"), pre = slots.i64("pre");
  const aStride = slots.i64("aStride"), aAcross = slots.i64("aAcross");
  const bStride = slots.i64("bStride");
  const activationA = slots.i64("activationA"), activationB = slots.i64("activationB");
  const aHalf = slots.i32("aHalf"), bHalf = slots.i32("bHalf"), outHalf = slots.i32("outHalf");
  const batchStrides = {
    a: [slots.i64("aOuter"), slots.i64("aInner")],
    b: [slots.i64("bOuter"), slots.i64("bInner")],
    out: [slots.i64("outOuter"), slots.i64("outInner")],
  } as const;
  /** Bytes of an element by its flag, in a new local. */
  const elementBytes = (half: number) => {
    const bytes = f.local(I64);
    f.i64const(2).i64const(4).get(half).i64const(0).i64("ne").select().set(bytes);
    return bytes;
  };
  const outHalf64 = slots.i64("outHalf");
  const outBytes = elementBytes(outHalf64);
  const biasHalf = slots.i64("biasHalf"), biasBytes = elementBytes(biasHalf);
  const preHalf = slots.i64("preHalf"), preBytes = elementBytes(preHalf);
  const preRow = f.local(I64);
  f.get(n).get(preBytes).i64("mul").set(preRow);
  const accumulate = slots.i32("accumulate"), accumulateF32 = f.local(I32);
  f.get(accumulate).get(outHalf).i32("eqz").i32("and").set(accumulateF32);

  const put = (field: keyof typeof FINISH, value: () => void) => {
    f.get(job);
    value();
    f.mem("i64.store", FINISH[field]);
  };
  put("activation", () => f.get(slots.i64("activation")));
  put("rowBias", () => f.i64const(0));
  put("preHalf", () => f.get(preHalf));
  put("preRowBytes", () => f.get(preRow));
  put("outHalf", () => f.get(outHalf64));
  put("outRowBytes", () => f.get(outRow));
  put("add", () => f.get(accumulate).i64("extend_i32_u"));
  const finish = f.local(I64);
  f.get(job).i64const(0).get(slots.i32("finishes")).select().set(finish);

  // What of B the thread has packed, where it is one block: its next piece may need the same.
  const packedB = f.local(I64), packedFrom = f.local(I64), packedTo = f.local(I64);
  const hasB = f.local(I32);
  claimChunks(f, pieces, (number) => {
    const { batch, ...ranges } = piece(number);
    const outerAt = f.local(I64), innerAt = f.local(I64);
    f.get(batch).get(inner).i64("div_u").set(outerAt);
    f.get(batch).get(inner).i64("rem_u").set(innerAt);
    const start = (base: number, [o, i]: readonly [number, number]) => {
      const address = f.local(I64);
      f.get(base).get(outerAt).get(o).i64("mul").i64("add");
      f.get(innerAt).get(i).i64("mul").i64("add").set(address);
      return address;
    };
    const a0 = start(a, batchStrides.a), b0 = start(b, batchStrides.b);
    const out0 = start(out, batchStrides.out), pre0 = f.local(I64);
    f.get(pre).get(batch).get(m).i64("mul").get(preRow).i64("mul").i64("add").set(pre0);
    /** Pushes the address of an element. */
    const at = (base: number, row: number, rowBytes: number, column: number, columnBytes: number) =>
      f.get(base).get(row).get(rowBytes).i64("mul").i64("add")
        .get(column).get(columnBytes).i64("mul").i64("add");
    const activated = (
      call: Func,
      activation: number,
      { dst, lines, steps }: Readonly<Record<"dst" | "lines" | "steps", number>>,
    ) =>
      f.get(activation).i64const(0).i64("ne").if(() => {
        f.get(dst).get(lines).get(steps).get(activation).call(call);
      });
    const { n0, n1 } = ranges;
    f.get(packedB).get(b0).i64("eq");
    f.get(packedFrom).get(n0).i64("eq").i32("and").get(packedTo).get(n1).i64("eq").i32("and");
    f.set(hasB).get(b0).i64const(0);
    f.get(blocks.k).get(blocks.ks).i64("le_s");
    f.get(n1).get(n0).i64("sub").get(blocks.nc).i64("le_s").i32("and").select().set(packedB);
    f.get(n0).set(packedFrom).get(n1).set(packedTo);
    emitProduct(f, code, {
      ...ranges,
      ...blocks,
      hasB,
      c: out0,
      ldc: outRow,
      accumulate: accumulateF32,
      aside: { when: outHalf, block },
      partsOfA: { stride: aStride, across: aAcross },
      rowsOfB: { stride: bStride, at: (p, column) => at(b0, p, bRow, column, bColumn) },
      bias: {
        half: biasHalf,
        at(column) {
          f.get(bias).get(column).get(biasBytes).i64("mul").i64("add").i64const(0);
          f.get(bias).i64const(0).i64("ne").select();
        },
      },
      packA({ dst, row, lines, p, steps }) {
        const pack = (call: Func) => {
          at(a0, row, aRow, p, aColumn).get(dst).get(steps).get(aRow).get(aColumn).get(lines);
          f.call(call);
        };
        f.get(aStride).i64const(0).i64("ne").if(
          () => at(a0, row, aRow, p, aColumn).set(dst),
          () => {
            f.get(aHalf).if(() => pack(packA.f16), () => pack(packA.f32));
            activated(activatedA, activationA, { dst, lines, steps });
          },
        );
      },
      packB({ dst, column, lines, p, steps }) {
        const pack = (call: Func) => {
          at(b0, p, bRow, column, bColumn).get(dst).get(steps).get(bColumn).get(bRow).get(lines);
          f.call(call);
        };
        f.get(bHalf).if(() => pack(packB.f16), () => pack(packB.f32));
        activated(activatedB, activationB, { dst, lines, steps });
      },
      finish: {
        job: finish,
        prepare(row, column) {
          put("pre", () => {
            at(pre0, row, preRow, column, preBytes).i64const(0);
            f.get(pre).i64const(0).i64("ne").select();
          });
          put("out", () => at(out0, row, outRow, column, outBytes));
        },
      },
    });
  });
  module.add(f);
  return module;
}

/**
 * Whether batch dimension `d` can be taken into the rows: one B for all of it, and rows of A and
 * of the output with one stride across its entries.
 */
function joinsRows(a: View, b: View, out: View, d: 0 | 1, rows: number): boolean {
  return b.strides[d] === 0 && a.strides[d] === rows * a.strides[2]! &&
    out.strides[d] === rows * out.strides[2]!;
}

/** `matmul` of the kernel contract. */
export function matmul(runtime: WasmRuntime, args: KernelArgs["matmul"]): void {
  const { a, out, combine, operand, sums } = args;
  if (hasFewRows(args)) multiplyFewRows(runtime, args);
  else multiply(runtime, args);
  if (combine) {
    elementwise(runtime, { program: combine, ins: [out, operand!], outs: [out], scalars: [] });
  }
  if (sums) sumRows(runtime, a, sums);
}

/** The sums of rows of a [B, C, M, K] into out [B, C, M]. */
function sumRows(runtime: WasmRuntime, a: View, out: View): void {
  const [outer, inner, m, k] = a.shape as [number, number, number, number];
  const [, , row, column] = a.strides as [number, number, number, number];
  for (let i = 0; i < outer * inner; i++) {
    const at = Math.floor(i / inner) * a.strides[0]! + i % inner * a.strides[1]!;
    reduce(runtime, {
      op: "sum",
      program: itself,
      ins: [{ ...a, offset: a.offset + at, shape: [1, k, m], strides: [0, column, row] }],
      scalars: [],
      out: { ...out, offset: out.offset + i * m, shape: [1, m], strides: [m, 1] },
    });
  }
}

/** Products of an element of B up to which it is cheaper to read it where it lies than to pack it. */
const FEW_USES = 256;
/**
 * Elements between steps of k up to which rows of A that are neighbours are read where they lie: two
 * steps are in a page then. (Of Mini's gradients of weights that takes 6 to 11% less time; at 1152 and
 * more it takes up to a third longer.)
 */
const NEAR = 512;

/** What a product reads where it lies: the axis along which A does, if any, and whether B is read so. */
interface InPlace {
  readonly a: "rows" | "columns" | null;
  readonly b: boolean;
}

/**
 * What is read where it lies. A product's plan counts it as packed all the same: pieces that share
 * rows of A, or columns of B, fetch them once each either way.
 */
function readInPlace(
  { a, b, activationA = "none", activationB = "none" }: KernelArgs["matmul"],
  m: number,
): InPlace {
  const isPlain = (x: View, activation: Activation, axis: 2 | 3) =>
    x.dtype === "f32" && activation === "none" && x.strides[axis] === 1;
  if (isPlain(a, activationA, 3) && a.strides[2] !== 0) return { a: "rows", b: false };
  if (m <= FEW_USES) {
    // Rows of B are far apart, so that panels of many are faster where they are used often.
    return { a: null, b: isPlain(b, activationB, 3) && b.strides[2] !== 0 };
  }
  const step = a.strides[3]!;
  const isNear = isPlain(a, activationA, 2) && step > 0 && step <= NEAR;
  return { a: isNear ? "columns" : null, b: false };
}

/** Rows of A up to which B, where its columns lie as rows, is rather read so. */
const FEW_ROWS = 16;
/** Elements of B from which that is worth transposing the result. */
const MANY_ELEMENTS = 1 << 21;

/** Whether a product is one of a few rows with a large matrix that lies transposed, as weights do. */
function hasFewRows(args: KernelArgs["matmul"]): boolean {
  const { a, b, activation, pre, out, accumulate } = args;
  const { activationA = "none", activationB = "none" } = args;
  const [outer, inner, m, k] = a.shape as [number, number, number, number];
  return outer * inner === 1 && m <= FEW_ROWS && k * b.shape[3]! >= MANY_ELEMENTS &&
    b.strides[2] === 1 && b.strides[3]! > 0 &&
    [a, b, out].every(({ dtype }) => dtype === "f32") &&
    [activation, activationA, activationB].every((each) => each === "none") &&
    pre === null && !accumulate;
}

const addBias = program(
  "bias",
  [{ kind: "input", ty: "f32" }, { kind: "input", ty: "f32" }],
  (x, bias) => x!.add(bias!),
);

/** The last two axes in each other's places. */
function transpose(view: View): View {
  const [outer, inner, rows, columns] = view.shape as [number, number, number, number];
  const strides = [view.strides[0]!, view.strides[1]!, view.strides[3]!, view.strides[2]!];
  return { ...view, shape: [outer, inner, columns, rows], strides };
}

/**
 * The transposed product, bᵀ aᵀ, and its result transposed: weights are then read once, as they lie,
 * where packing them takes longer than their few uses. Same bits: each element is one sum over k.
 */
function multiplyFewRows(runtime: WasmRuntime, args: KernelArgs["matmul"]): void {
  const { a, b, bias, out } = args;
  const [m, n] = [a.shape[2]!, b.shape[3]!];
  const buffer = runtime.alloc(m * n * 4, "matmul");
  try {
    const product: View = {
      buffer,
      dtype: "f32",
      offset: 0,
      shape: [1, 1, n, m],
      strides: [n * m, n * m, m, 1],
    };
    multiply(runtime, { ...args, a: transpose(b), b: transpose(a), bias: null, out: product });
    const biases = bias && { ...bias, shape: out.shape, strides: [0, 0, 0, bias.strides[0]!] };
    elementwise(runtime, {
      program: biases ? addBias : itself,
      ins: biases ? [transpose(product), biases] : [transpose(product)],
      outs: [out],
      scalars: [],
    });
  } finally {
    runtime.free(buffer);
  }
}

function multiply(runtime: WasmRuntime, args: KernelArgs["matmul"]): void {
  const { a, b, bias, activation, pre, out, accumulate } = args;
  const { activationA = "none", activationB = "none" } = args;
  let [outer, inner, m] = a.shape as [number, number, number];
  const k = a.shape[3]!, n = b.shape[3]!;
  if (inner > 1 && joinsRows(a, b, out, 1, m)) {
    m *= inner;
    inner = 1;
  }
  if (outer > 1 && inner === 1 && joinsRows(a, b, out, 0, m)) {
    m *= outer;
    outer = 1;
  }
  const wholeK = out.dtype === "f16";
  const plan = planProduct(runtime, { batches: outer * inner, m, n, k, wholeK });
  const inPlace = readInPlace(args, m);
  const aBytes = DTYPE_BYTES[a.dtype], bBytes = DTYPE_BYTES[b.dtype];
  const outBytes = DTYPE_BYTES[out.dtype];
  const slots = SLOTS.fill({
    inner,
    a: runtime.address(a),
    aOuter: a.strides[0]! * aBytes,
    aInner: a.strides[1]! * aBytes,
    aRow: a.strides[2]! * aBytes,
    aColumn: a.strides[3]! * aBytes,
    aHalf: Number(a.dtype === "f16"),
    b: runtime.address(b),
    bOuter: b.strides[0]! * bBytes,
    bInner: b.strides[1]! * bBytes,
    bRow: b.strides[2]! * bBytes,
    bColumn: b.strides[3]! * bBytes,
    bHalf: Number(b.dtype === "f16"),
    out: runtime.address(out),
    outOuter: out.strides[0]! * outBytes,
    outInner: out.strides[1]! * outBytes,
    outRow: out.strides[2]! * outBytes,
    outHalf: Number(wholeK),
    aStride: inPlace.a === null ? 0 : a.strides[inPlace.a === "rows" ? 2 : 3]! * aBytes,
    aAcross: Number(inPlace.a === "columns"),
    bStride: inPlace.b ? b.strides[2]! * bBytes : 0,
    activationA: ACTIVATIONS.indexOf(activationA),
    activationB: ACTIVATIONS.indexOf(activationB),
    accumulate: Number(accumulate),
    finishes: Number(wholeK || pre !== null || activation !== "none"),
    activation: ACTIVATIONS.indexOf(activation),
    bias: bias ? runtime.address(bias) : 0,
    biasHalf: Number(bias?.dtype === "f16"),
    pre: pre ? runtime.address(pre) : 0,
    preHalf: Number(pre?.dtype === "f16"),
  });
  const kernelId = runtime.load("matmul", build)("matmul");
  runtime.launch(kernelId, [...PLAN.fill(plan), ...slots], plan);
}
