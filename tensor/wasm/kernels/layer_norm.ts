/**
 * Layer normalisation (Ba et al., arXiv:1607.06450) with its affine part or with the per-sample
 * modulation of DiT, of a gated sum where there is one, and the gradients of all.
 *
 * Mean and variance take two passes over a row, which is in the first-level cache: a single pass of
 * sums of squares would lose the digits of rows whose mean is large.
 */
import { gateGrad } from "./gate_grad.ts";
import type { KernelArgs } from "../../kernels.ts";
import type { View } from "../../view.ts";
import { claimChunks, kernel } from "../emit/abi.ts";
import { type Func, I32, I64, Module, V128 } from "../emit/assembler.ts";
import { columnSumKernel, launchColumnSums, SUM_CHUNK_ROWS } from "./column_sums.ts";
import {
  accumulators,
  combine,
  min64,
  rowAddress,
  type Step,
  vectorContext,
  walk,
} from "../emit/rows.ts";
import type { WasmRuntime } from "../device/runtime.ts";
import { Slots } from "../emit/slots.ts";
import type { VectorContext } from "../emit/vector_math.ts";

/** Elements that a thread claims at a time. */
const CHUNK = 16384;

/** Elements of a row from which on its sums are made of sums of so many each. */
const SPAN = 16384;

/** Sums the vectors that `values` gives for each step of a walk; the total in all lanes. */
function sumOver(
  c: VectorContext,
  n: number,
  row: number,
  values: (step: Step) => number[],
): number {
  const { f } = c;
  const sums = accumulators(f, 0);
  walk(c, n, [row], (step) =>
    values(step).forEach((value, v) => {
      f.get(sums[v]!).get(value);
      if (step.mask !== undefined) f.get(step.mask).v128("and");
      f.f32x4("add").set(sums[v]!);
    }));
  return combine(f, sums, "add");
}

/** The same of a long row, whose error must not grow with its length. */
const sumOverSpans: typeof sumOver = (c, n, row, values) => {
  const { f } = c;
  const at = f.local(I64), part = f.local(I64), total = f.local(V128);
  f.i64const(0).set(at).f32x4const(0).set(total).get(row).set(part);
  f.for64(at, n, SPAN, () => {
    const count = min64(f, (f) => f.i64const(SPAN), (f) => f.get(n).get(at).i64("sub"));
    f.get(sumOver(c, count, part, values)).get(total).f32x4("add").set(total);
    f.advance(part, SPAN * 4);
  });
  return total;
};

/** i64 `start` and `end` of a chunk's rows, in new locals. */
function chunkRange(f: Func, chunk: number, size: number, rows: number): [number, number] {
  const start = f.local(I64), end = f.local(I64);
  f.get(chunk).i64("extend_i32_u").get(size).i64("mul").tee(start).get(size).i64("add").set(end);
  f.get(end).get(rows).get(end).get(rows).i64("lt_s").select().set(end);
  return [start, end];
}

function splatAt(f: Func, base: number, index: number): number {
  const local = f.local(V128);
  f.get(base).get(index).i64const(2).i64("shl").i64("add").vmem("load32_splat").set(local);
  return local;
}

// deno-fmt-ignore
const FORWARD = new Slots([
  "n", "rows", "chunkRows", "chunks", "x", "out", "mean",
  "rstd", "eps", "inverseN", "meanFactor", "rowsPerSample", "multiply", "multiplyBytes", "add",
  "addBytes", "one", "branch", "gate", "gateBytes", "summed",
]);

/**
 * out = (x - mean) rstd (one + multiply) + add; `multiply` and `add` are vectors at addresses that
 * advance with the sample, or 0 where there are none. Where there is a `branch`, x + gate branch
 * goes to `summed` first and takes the place of x.
 */
function forwardKernel(name: string, sum: typeof sumOver): Func {
  const f = kernel(name);
  const c = vectorContext(f);
  const slots = FORWARD.of(f);
  const n = slots.i64("n"), rows = slots.i64("rows"), chunkRows = slots.i64("chunkRows");
  const perSample = slots.i64("rowsPerSample");
  const x = slots.i64("x"),
    out = slots.i64("out"),
    means = slots.i64("mean"),
    rstds = slots.i64("rstd");
  const multiply = slots.i64("multiply"), multiplyBytes = slots.i64("multiplyBytes");
  const add = slots.i64("add"), addBytes = slots.i64("addBytes");
  const eps = slots.f32x4("eps"), inverseN = slots.f32x4("inverseN");
  const meanFactor = slots.f32x4("meanFactor"); // 1 / n, or 0 for a mean of 0
  const one = slots.f32x4("one");
  const branch = slots.i64("branch"), summed = slots.i64("summed");
  const gate = slots.i64("gate"), gateBytes = slots.i64("gateBytes");
  const chunks = slots.i32("chunks"), bytes = f.local(I64);
  f.get(n).i64const(2).i64("shl").set(bytes);
  claimChunks(f, chunks, (chunk) => {
    const [row, end] = chunkRange(f, chunk, chunkRows, rows);
    f.for64(row, end, 1, () => {
      const xRow = rowAddress(f, x, row, bytes), outRow = rowAddress(f, out, row, bytes);
      const sample = f.local(I64);
      f.get(row).get(perSample).i64("div_u").set(sample);
      f.get(branch).i64const(0).i64("ne").if(() => {
        const branchRow = rowAddress(f, branch, row, bytes);
        const gateRow = rowAddress(f, gate, sample, gateBytes);
        const summedRow = rowAddress(f, summed, row, bytes);
        walk(c, n, [xRow, branchRow, gateRow, summedRow], (step) => {
          const values = step.load(0), more = step.load(1), gates = step.load(2);
          values.forEach((v, i) => {
            f.get(gates[i]!).get(more[i]!).get(v).f32x4("relaxed_madd").set(v);
          });
          step.store(3, values);
        });
        f.get(summedRow).set(xRow);
      });
      const mean = sum(c, n, xRow, (step) => step.load(0));
      f.get(mean).get(meanFactor).f32x4("mul").set(mean);
      const rstd = sum(c, n, xRow, (step) =>
        step.load(0).map((v) => {
          f.get(v).get(mean).f32x4("sub").tee(v).get(v).f32x4("mul").set(v);
          return v;
        }));
      f.get(c.constants.f32(1));
      f.get(rstd).get(inverseN).f32x4("mul").get(eps).f32x4("add").f32x4("sqrt");
      f.f32x4("div").set(rstd);
      for (const [base, value] of [[means, mean], [rstds, rstd]] as const) {
        f.get(base).get(row).i64const(2).i64("shl").i64("add").get(value).vlane("store32_lane", 0);
      }
      const write = (pointers: number[], affine: (step: Step, v: number, i: number) => void) =>
        walk(c, n, [xRow, outRow, ...pointers], (step) => {
          const values = step.load(0);
          const scales = pointers.map((_, i) => step.load(2 + i));
          values.forEach((v, i) => {
            f.get(v).get(mean).f32x4("sub").get(rstd).f32x4("mul").set(v);
            affine({ ...step, load: (p) => scales[p]! }, v, i);
          });
          step.store(1, values);
        });
      f.get(multiply).i64("eqz").if(() => write([], () => {}), () => {
        const scale = rowAddress(f, multiply, sample, multiplyBytes);
        const times = (step: Step, v: number, i: number) =>
          f.get(v).get(step.load(0)[i]!).get(one).f32x4("add");
        f.get(add).i64("eqz").if(() => {
          write([scale], (step, v, i) => times(step, v, i).f32x4("mul").set(v));
        }, () => {
          const shift = rowAddress(f, add, sample, addBytes);
          write(
            [scale, shift],
            (step, v, i) => times(step, v, i).get(step.load(1)[i]!).f32x4("relaxed_madd").set(v),
          );
        });
      });
    });
  });
  return f;
}

// deno-fmt-ignore
const BACKWARD = new Slots([
  "n", "rows", "chunkRows", "chunks", "chunksPerGroup", "x", "g",
  "dx", "mean", "rstd", "inverseN", "meanFactor", "rowsPerSample", "multiply", "multiplyBytes",
  "one", "partial", "residual",
]);

/**
 * With u = (x - mean) rstd and h = g (one + multiply):
 * dx = rstd (h - mean(h) - u mean(h u)), without mean(h) where it is not centred; `residual` is added
 * to it where there is one. Where `partial` is given, chunk c writes its sums over
 * rows of g u and of g to rows 2c and 2c + 1 there. A group of `rows` rows has `chunksPerGroup`
 * chunks.
 */
function backwardKernel(): Func {
  const f = kernel("layerNormGrad");
  const c = vectorContext(f);
  const slots = BACKWARD.of(f);
  const n = slots.i64("n"), rows = slots.i64("rows"), chunkRows = slots.i64("chunkRows");
  const perGroup = slots.i64("chunksPerGroup"), perSample = slots.i64("rowsPerSample");
  const x = slots.i64("x"), g = slots.i64("g"), dx = slots.i64("dx");
  const means = slots.i64("mean"), rstds = slots.i64("rstd");
  const multiply = slots.i64("multiply"), multiplyBytes = slots.i64("multiplyBytes");
  const partial = slots.i64("partial"), residual = slots.i64("residual");
  const inverseN = slots.f32x4("inverseN"), one = slots.f32x4("one");
  const meanFactor = slots.f32x4("meanFactor");
  const chunks = slots.i32("chunks"), bytes = f.local(I64);
  f.get(n).i64const(2).i64("shl").set(bytes);

  claimChunks(f, chunks, (chunk) => {
    const wide = f.local(I64), inGroup = f.local(I32), firstRow = f.local(I64);
    f.get(chunk).i64("extend_i32_u").set(wide);
    f.get(wide).get(perGroup).i64("rem_u").i32("wrap_i64").set(inGroup);
    f.get(wide).get(perGroup).i64("div_u").get(rows).i64("mul").set(firstRow);
    const [from, to] = chunkRange(f, inGroup, chunkRows, rows);
    const row = f.local(I64), end = f.local(I64);
    f.get(from).get(firstRow).i64("add").set(row).get(to).get(firstRow).i64("add").set(end);
    const sums = f.local(I64), sumsG = f.local(I64);
    f.get(partial).get(wide).get(bytes).i64("mul").i64const(1).i64("shl").i64("add").tee(sums);
    f.get(bytes).i64("add").set(sumsG);
    f.get(partial).i64const(0).i64("ne").if(() => {
      f.get(sums).i32const(0).get(bytes).i64const(1).i64("shl").memoryFill();
    });
    f.for64(row, end, 1, () => {
      const xRow = rowAddress(f, x, row, bytes), gRow = rowAddress(f, g, row, bytes);
      const dxRow = rowAddress(f, dx, row, bytes);
      const mean = splatAt(f, means, row), rstd = splatAt(f, rstds, row);
      const sample = f.local(I64);
      f.get(row).get(perSample).i64("div_u").set(sample);
      const scale = rowAddress(f, multiply, sample, multiplyBytes);
      const normalise = (v: number) =>
        f.get(v).get(mean).f32x4("sub").get(rstd).f32x4("mul").set(v);
      const rowGrad = (scaled: boolean, summed: boolean) => {
        const totalH = accumulators(f, 0), totalHU = accumulators(f, 0);
        const inputs = [xRow, gRow, ...(scaled ? [scale] : [])];
        const first = inputs.length;
        walk(c, n, [...inputs, ...(summed ? [sums, sumsG] : [])], (step) => {
          const us = step.load(0), gs = step.load(1);
          const scales = scaled ? step.load(2) : [];
          const old = summed ? [step.load(first), step.load(first + 1)] : [];
          us.forEach((u, i) => {
            normalise(u);
            const h = gs[i]!;
            if (summed) {
              const [gu, gSum] = [old[0]![i]!, old[1]![i]!];
              f.get(h).get(u).get(gu).f32x4("relaxed_madd").set(gu);
              f.get(gSum).get(h).f32x4("add").set(gSum);
            }
          });
          if (summed) old.forEach((values, i) => step.store(first + i, values));
          us.forEach((u, i) => {
            const h = gs[i]!;
            f.get(h);
            if (scaled) f.get(scales[i]!).get(one).f32x4("add").f32x4("mul");
            if (step.mask !== undefined) f.get(step.mask).v128("and");
            f.set(h);
            f.get(totalH[i]!).get(h).f32x4("add").set(totalH[i]!);
            f.get(totalHU[i]!).get(h).get(u).f32x4("mul");
            // What lies outside the row may be infinite, and 0 times that is NaN.
            if (step.mask !== undefined) f.get(step.mask).v128("and");
            f.f32x4("add").set(totalHU[i]!);
          });
        });
        const [meanH, meanHU] = ([[totalH, meanFactor], [totalHU, inverseN]] as const).map(
          ([total, factor]) => {
            const all = combine(f, total, "add");
            f.get(all).get(factor).f32x4("mul").set(all);
            return all;
          },
        );
        walk(c, n, [...inputs, dxRow], (step) => {
          const us = step.load(0), hs = step.load(1);
          const scales = scaled ? step.load(2) : [];
          us.forEach((u, i) => {
            normalise(u);
            f.get(hs[i]!);
            if (scaled) f.get(scales[i]!).get(one).f32x4("add").f32x4("mul");
            f.get(meanH!).f32x4("sub").get(u).get(meanHU!).f32x4("mul").f32x4("sub");
            f.get(rstd).f32x4("mul").set(u);
          });
          step.store(first, us);
        });
      };
      f.get(multiply).i64("eqz").if(
        () => rowGrad(false, false),
        () => {
          f.get(partial).i64("eqz").if(() => rowGrad(true, false), () => rowGrad(true, true));
        },
      );
      f.get(residual).i64const(0).i64("ne").if(() => {
        walk(c, n, [dxRow, rowAddress(f, residual, row, bytes)], (step) => {
          const own = step.load(0), past = step.load(1);
          own.forEach((v, i) => f.get(v).get(past[i]!).f32x4("add").set(v));
          step.store(0, own);
        });
      });
    });
  });
  return f;
}

function build(): Module {
  const module = new Module();
  module.add(forwardKernel("layerNorm", sumOver));
  module.add(forwardKernel("layerNormLong", sumOverSpans));
  module.add(backwardKernel());
  module.add(columnSumKernel());
  return module;
}

const address = (runtime: WasmRuntime, view: View | null) => view ? runtime.address(view) : 0;
/** Bytes from one sample's vector to the next; 0 for a vector that all samples share. */
const sampleBytes = (view: View | null) =>
  view && view.shape.length === 2 ? view.strides[0]! * 4 : 0;

/** `layerNorm` of the kernel contract. */
export function layerNorm(runtime: WasmRuntime, args: KernelArgs["layerNorm"]): void {
  const { eps, centred, out, mean, rstd, scale, shift } = args;
  const { x, branch = null, gate = null, summed = null } = args;
  const [samples, rowsPerSample, n] = x.shape as [number, number, number];
  const rows = samples * rowsPerSample;
  const chunkRows = Math.max(1, Math.ceil(CHUNK / n));
  const multiply = args.weight ?? scale, add = args.bias ?? shift;
  const slots = FORWARD.fill({
    n,
    rows,
    chunkRows,
    chunks: Math.ceil(rows / chunkRows),
    x: runtime.address(x),
    out: runtime.address(out),
    mean: runtime.address(mean),
    rstd: runtime.address(rstd),
    eps,
    inverseN: 1 / n,
    meanFactor: centred ? 1 / n : 0,
    rowsPerSample,
    multiply: address(runtime, multiply),
    multiplyBytes: sampleBytes(multiply),
    add: address(runtime, add),
    addBytes: sampleBytes(add),
    one: Number(scale !== null),
    branch: address(runtime, branch),
    gate: address(runtime, gate),
    gateBytes: sampleBytes(gate),
    summed: address(runtime, summed),
  });
  const forward = runtime.load("layerNorm", build)(n > SPAN ? "layerNormLong" : "layerNorm");
  runtime.launch(forward, slots, { threads: runtime.threadsFor(rows * n) });
}

/** `layerNormGrad` of the kernel contract. */
export function layerNormGrad(runtime: WasmRuntime, args: KernelArgs["layerNormGrad"]): void {
  const { x, g, weight, scale, centred, mean, rstd, dx } = args;
  const [samples, rowsPerSample, n] = x.shape as [number, number, number];
  const first = args.dWeight ?? args.dScale, second = args.dBias ?? args.dShift;
  const multiply = weight ?? scale;
  const groups = scale ? samples : 1;
  const rows = samples * rowsPerSample / groups;
  const chunkRows = SUM_CHUNK_ROWS;
  const chunksPerGroup = Math.ceil(rows / chunkRows);
  const chunks = groups * chunksPerGroup;
  const kernels = runtime.load("layerNorm", build);
  const threads = runtime.threadsFor(groups * rows * n);
  const partial = first || second ? runtime.allocTemp(chunks * 2 * n * 4, "layerNormGrad") : 0;
  try {
    const slots = BACKWARD.fill({
      n,
      rows,
      chunkRows,
      chunks,
      chunksPerGroup,
      x: runtime.address(x),
      g: runtime.address(g),
      dx: runtime.address(dx),
      mean: runtime.address(mean),
      rstd: runtime.address(rstd),
      inverseN: 1 / n,
      meanFactor: centred ? 1 / n : 0,
      rowsPerSample,
      multiply: address(runtime, multiply),
      multiplyBytes: sampleBytes(multiply),
      one: Number(scale !== null),
      partial,
      residual: address(runtime, args.residual ?? null),
    });
    runtime.launch(kernels("layerNormGrad"), slots, { threads });
    if (partial) {
      launchColumnSums(runtime, kernels("columnSums"), {
        partial,
        groups,
        chunks: chunksPerGroup,
        n,
        outs: [address(runtime, first), address(runtime, second)],
        outBytes: [sampleBytes(first), sampleBytes(second)],
      });
    }
  } finally {
    if (partial) runtime.freeTemp(partial);
  }
  const { branch = null, gate = null, dBranch = null, dGate = null } = args;
  if (branch) gateGrad(runtime, { x: branch, gate: gate!, g: dx, dx: dBranch!, dGate: dGate! });
}
