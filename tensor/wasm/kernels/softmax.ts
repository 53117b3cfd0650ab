/** Softmax over rows, its logarithm, and their gradients. */
import type { KernelArgs } from "../../kernels.ts";
import { claimChunks, kernel } from "../emit/abi.ts";
import { type Func, I64, Module } from "../emit/assembler.ts";
import { accumulators, combine, rowAddress, type Step, vectorContext, walk } from "../emit/rows.ts";
import type { WasmRuntime } from "../device/runtime.ts";
import { Slots } from "../emit/slots.ts";
import { exp2, log2, type VectorContext } from "../emit/vector_math.ts";

/** Elements that a thread claims at a time. */
const CHUNK = 16384;

/** Slots shared by the kernels here. */
const SLOTS = new Slots(["n", "rows", "chunkRows", "chunks", "x", "y", "out"]);

/**
 * A kernel over rows: `body` is given i64 locals with the length of a row and the addresses of
 * this row of `x`, `y` and `out`.
 */
function rowKernel(
  name: string,
  body: (c: VectorContext, n: number, x: number, y: number, out: number) => void,
): Func {
  const f = kernel(name);
  const context = vectorContext(f);
  const slots = SLOTS.of(f);
  const n = slots.i64("n"), rows = slots.i64("rows"), chunkRows = slots.i64("chunkRows");
  const chunks = slots.i32("chunks");
  const bases = [slots.i64("x"), slots.i64("y"), slots.i64("out")];
  const bytes = f.local(I64), row = f.local(I64), end = f.local(I64);
  f.get(n).i64const(2).i64("shl").set(bytes);
  claimChunks(f, chunks, (chunk) => {
    f.get(chunk).i64("extend_i32_u").get(chunkRows).i64("mul").tee(row);
    f.get(chunkRows).i64("add").set(end);
    f.get(end).get(rows).get(end).get(rows).i64("lt_s").select().set(end);
    f.for64(row, end, 1, () => {
      const [x, y, out] = bases.map((base) => rowAddress(f, base, row, bytes));
      body(context, n, x!, y!, out!);
    });
  });
  return f;
}

/** Adds `values` of a step to the accumulators, but nothing from outside its mask. */
function addTo(f: Func, sums: readonly number[], step: Step, values: readonly number[]): void {
  values.forEach((value, v) => {
    f.get(sums[v]!).get(value);
    if (step.mask !== undefined) f.get(step.mask).v128("and");
    f.f32x4("add").set(sums[v]!);
  });
}

/** The largest element, in all lanes; NaN where there is one. */
function largest(c: VectorContext, n: number, x: number): number {
  const { f, constants } = c;
  const most = accumulators(f, -Infinity);
  walk(c, n, [x], (step) => {
    step.load(0).forEach((value, v) => {
      if (step.mask !== undefined) {
        f.get(value).get(constants.f32(-Infinity)).get(step.mask).v128("bitselect").set(value);
      }
      f.get(most[v]!).get(value).f32x4("max").set(most[v]!);
    });
  });
  return combine(f, most, "max");
}

/** 2^((x - max) log2(e)) for the vectors of a step, in their locals' place. */
function exponentials(c: VectorContext, values: readonly number[], max: number): void {
  const { f, constants } = c;
  const scale = constants.f32(Math.LOG2E);
  for (const value of values) {
    f.get(value).get(max).f32x4("sub").get(scale).f32x4("mul").set(value);
    exp2(c, value);
    f.set(value);
  }
}

function softmaxRow(c: VectorContext, n: number, x: number, _y: number, out: number): void {
  const { f, constants } = c;
  const max = largest(c, n, x);
  const sums = accumulators(f, 0);
  walk(c, n, [x, out], (step) => {
    const values = step.load(0);
    exponentials(c, values, max);
    addTo(f, sums, step, values);
    step.store(1, values);
  });
  const inverse = combine(f, sums, "add");
  f.get(constants.f32(1)).get(inverse).f32x4("div").set(inverse);
  walk(c, n, [out], (step) => {
    const values = step.load(0);
    for (const value of values) f.get(value).get(inverse).f32x4("mul").set(value);
    step.store(0, values);
  });
}

function logSoftmaxRow(c: VectorContext, n: number, x: number, _y: number, out: number): void {
  const { f, constants } = c;
  const max = largest(c, n, x);
  const sums = accumulators(f, 0);
  walk(c, n, [x], (step) => {
    const values = step.load(0);
    exponentials(c, values, max);
    addTo(f, sums, step, values);
  });
  const total = combine(f, sums, "add");
  log2(c, total);
  f.get(constants.f32(Math.LN2)).f32x4("mul").set(total);
  walk(c, n, [x, out], (step) => {
    const values = step.load(0);
    for (const v of values) f.get(v).get(max).f32x4("sub").get(total).f32x4("sub").set(v);
    step.store(1, values);
  });
}

/** y (g - sum(g y)). */
function softmaxGradRow(c: VectorContext, n: number, y: number, g: number, out: number): void {
  const { f } = c;
  const sums = accumulators(f, 0);
  walk(c, n, [y, g], (step) => {
    const values = step.load(0), grads = step.load(1);
    values.forEach((v, i) => f.get(v).get(grads[i]!).f32x4("mul").set(v));
    addTo(f, sums, step, values);
  });
  const dot = combine(f, sums, "add");
  walk(c, n, [y, g, out], (step) => {
    const values = step.load(0), grads = step.load(1);
    values.forEach((v, i) => f.get(grads[i]!).get(dot).f32x4("sub").get(v).f32x4("mul").set(v));
    step.store(2, values);
  });
}

/** g - e^y sum(g). */
function logSoftmaxGradRow(c: VectorContext, n: number, y: number, g: number, out: number): void {
  const { f, constants } = c;
  const sums = accumulators(f, 0);
  walk(c, n, [g], (step) => addTo(f, sums, step, step.load(0)));
  const total = combine(f, sums, "add");
  walk(c, n, [y, g, out], (step) => {
    const values = step.load(0), grads = step.load(1);
    exponentials(c, values, constants.f32(0));
    values.forEach((v, i) => f.get(grads[i]!).get(v).get(total).f32x4("mul").f32x4("sub").set(v));
    step.store(2, values);
  });
}

function build(): Module {
  const module = new Module();
  module.add(rowKernel("softmax", softmaxRow));
  module.add(rowKernel("logSoftmax", logSoftmaxRow));
  module.add(rowKernel("softmaxGrad", softmaxGradRow));
  module.add(rowKernel("logSoftmaxGrad", logSoftmaxGradRow));
  return module;
}

function launch(
  runtime: WasmRuntime,
  name: string,
  shape: readonly number[],
  [x, y, out]: [number, number, number],
): void {
  const [rows, n] = shape as [number, number];
  const chunkRows = Math.max(1, Math.ceil(CHUNK / n));
  const chunks = Math.ceil(rows / chunkRows);
  const slots = SLOTS.fill({ n, rows, chunkRows, chunks, x, y, out });
  runtime.launch(runtime.load("softmax", build)(name), slots, {
    threads: runtime.threadsFor(rows * n),
  });
}

/** `softmax` of the kernel contract. */
export function softmax(runtime: WasmRuntime, { x, out, log }: KernelArgs["softmax"]): void {
  const addresses: [number, number, number] = [runtime.address(x), 0, runtime.address(out)];
  launch(runtime, log ? "logSoftmax" : "softmax", x.shape, addresses);
}

/** `softmaxGrad` of the kernel contract. */
export function softmaxGrad(runtime: WasmRuntime, args: KernelArgs["softmaxGrad"]): void {
  const { y, g, out, log } = args;
  launch(runtime, log ? "logSoftmaxGrad" : "softmaxGrad", y.shape, [
    runtime.address(y),
    runtime.address(g),
    runtime.address(out),
  ]);
}
