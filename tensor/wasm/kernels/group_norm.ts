/**
 * Group normalisation (Wu & He, arXiv:1803.08494) with its affine part and, where asked, SiLU, and
 * the gradients. A group of channels of one sample is contiguous; threads claim groups.
 *
 * Sums run in f32 over at most `SPAN` elements and in f64 over those sums: a group of a large image
 * has millions of elements.
 */
import type { KernelArgs } from "../../kernels.ts";
import { claimChunks, kernel } from "../emit/abi.ts";
import { sigmoid, silu } from "../emit/activations.ts";
import { F64, type Func, I64, Module, V128 } from "../emit/assembler.ts";
import { columnSumKernel, launchColumnSums } from "./column_sums.ts";
import { accumulators, combine, min64, type Step, vectorContext, walk } from "../emit/rows.ts";
import type { WasmRuntime } from "../device/runtime.ts";
import { Slots } from "../emit/slots.ts";
import type { VectorContext } from "../emit/vector_math.ts";

/** Elements summed in f32. */
const SPAN = 4096;

/** Adds up to two sums over elements `[0, n)` of rows into f64 locals. */
function sumSpans(
  c: VectorContext,
  n: number,
  rows: readonly number[],
  totals: readonly number[],
  values: (step: Step) => number[][],
): void {
  const { f } = c;
  const at = f.local(I64);
  const span = rows.map(() => f.local(I64));
  f.i64const(0).set(at);
  f.for64(at, n, SPAN, () => {
    rows.forEach((row, i) => {
      f.get(row).get(at).i64const(4).i64("mul").i64("add").set(span[i]!);
    });
    const count = min64(f, (f) => f.i64const(SPAN), (f) => f.get(n).get(at).i64("sub"));
    const sums = totals.map(() => accumulators(f, 0));
    walk(c, count, span, (step) =>
      values(step).forEach((terms, s) =>
        terms.forEach((term, v) => {
          const sum = sums[s]![v]!;
          f.get(sum).get(term);
          if (step.mask !== undefined) f.get(step.mask).v128("and");
          f.f32x4("add").set(sum);
        })
      ));
    totals.forEach((total, s) => {
      f.get(total).get(combine(f, sums[s]!, "add")).f32x4extract(0).f64("promote_f32");
      f.f64("add").set(total);
    });
  });
}

/** An f64 local, divided by another, as an f32 in all lanes of a new local. */
function meanOf(f: Func, total: number, count: number): number {
  const local = f.local(V128);
  f.get(total).get(count).f64("div").f32("demote_f64").f32x4("splat").set(local);
  return local;
}

function splatAt(f: Func, base: number, index: number): number {
  const local = f.local(V128);
  f.get(base).get(index).i64const(4).i64("mul").i64("add").vmem("load32_splat").set(local);
  return local;
}

const zero = (f: Func, total: number) => f.f64const(0).set(total);

// deno-fmt-ignore
const SLOTS = new Slots([
  "tasks", "groups", "channels", "pixels", "x", "weight", "bias", "mean", "rstd", "eps", "out",
  "g", "partial", "allChannels",
]);

/** What both kernels know of the group that a task works on. */
function groupOf(f: Func, task: number, groups: number, channels: number) {
  const index = f.local(I64), sample = f.local(I64), first = f.local(I64);
  f.get(task).i64("extend_i32_u").set(index);
  f.get(index).get(groups).i64("div_u").set(sample);
  f.get(index).get(groups).i64("rem_u").get(channels).i64("mul").set(first);
  return { index, sample, first };
}

function forwardKernel(withSilu: boolean): Func {
  const f = kernel(withSilu ? "groupNormSilu" : "groupNorm");
  const c = vectorContext(f);
  const slots = SLOTS.of(f);
  const groups = slots.i64("groups"), channels = slots.i64("channels");
  const pixels = slots.i64("pixels"), x = slots.i64("x"), out = slots.i64("out");
  const weight = slots.i64("weight"), bias = slots.i64("bias");
  const means = slots.i64("mean"), rstds = slots.i64("rstd"), eps = slots.f32x4("eps");
  const elements = f.local(I64), count = f.local(F64), total = f.local(F64);
  f.get(channels).get(pixels).i64("mul").tee(elements).f64("convert_i64_s").set(count);
  claimChunks(f, slots.i32("tasks"), (task) => {
    const { index, first } = groupOf(f, task, groups, channels);
    const from = f.local(I64), to = f.local(I64), channel = f.local(I64);
    for (const [at, base] of [[from, x], [to, out]] as const) {
      f.get(base).get(index).get(elements).i64("mul").i64const(4).i64("mul").i64("add").set(at);
    }
    zero(f, total);
    sumSpans(c, elements, [from], [total], (step) => [step.load(0)]);
    const mean = meanOf(f, total, count);
    zero(f, total);
    sumSpans(c, elements, [from], [total], (step) => {
      const values = step.load(0);
      for (const v of values) f.get(v).get(mean).f32x4("sub").tee(v).get(v).f32x4("mul").set(v);
      return [values];
    });
    const rstd = meanOf(f, total, count);
    f.get(c.constants.f32(1)).get(rstd).get(eps).f32x4("add").f32x4("sqrt").f32x4("div").set(rstd);
    for (const [base, value] of [[means, mean], [rstds, rstd]] as const) {
      f.get(base).get(index).i64const(4).i64("mul").i64("add").get(value);
      f.vlane("store32_lane", 0);
    }
    f.get(first).set(channel);
    f.for64(channel, (f) => f.get(first).get(channels).i64("add"), 1, () => {
      const scale = splatAt(f, weight, channel), shift = splatAt(f, bias, channel);
      f.get(scale).get(rstd).f32x4("mul").set(scale);
      walk(c, pixels, [from, to], (step) => {
        const values = step.load(0);
        for (const v of values) {
          f.get(v).get(mean).f32x4("sub").get(scale).get(shift).f32x4("relaxed_madd").set(v);
          if (withSilu) {
            silu(c, v);
            f.set(v);
          }
        }
        step.store(1, values);
      });
      for (const at of [from, to]) {
        f.get(at).get(pixels).i64const(4).i64("mul").i64("add").set(at);
      }
    });
  });
  return f;
}

/**
 * With u = (x - mean) rstd, y = u weight + bias and h the gradient by y, g or g silu'(y):
 * dx = rstd (h weight - mean(h weight) - u mean(h weight u)), means over the group. The sums of
 * h u and of h over the pixels of a channel go to `partial` [N, 2, C].
 */
function backwardKernel(withSilu: boolean): Func {
  const f = kernel(withSilu ? "groupNormSiluGrad" : "groupNormGrad");
  const c = vectorContext(f);
  const slots = SLOTS.of(f);
  const groups = slots.i64("groups"), channels = slots.i64("channels");
  const allChannels = slots.i64("allChannels"), pixels = slots.i64("pixels");
  const x = slots.i64("x"), g = slots.i64("g"), dx = slots.i64("out");
  const weight = slots.i64("weight"), bias = slots.i64("bias"), partial = slots.i64("partial");
  const means = slots.i64("mean"), rstds = slots.i64("rstd");
  const elements = f.local(I64), count = f.local(F64), bytes = f.local(I64);
  f.get(channels).get(pixels).i64("mul").tee(elements).f64("convert_i64_s").set(count);
  f.get(pixels).i64const(4).i64("mul").set(bytes);
  claimChunks(f, slots.i32("tasks"), (task) => {
    const { index, sample, first } = groupOf(f, task, groups, channels);
    const mean = splatAt(f, means, index), rstd = splatAt(f, rstds, index);
    const xAt = f.local(I64), gAt = f.local(I64), dxAt = f.local(I64), channel = f.local(I64);
    const sumAt = f.local(I64);
    const normalise = (v: number) => f.get(v).get(mean).f32x4("sub").get(rstd).f32x4("mul").set(v);
    const overChannels = (body: (scale: number) => void) => {
      for (const [at, base] of [[xAt, x], [gAt, g], [dxAt, dx]] as const) {
        f.get(base).get(index).get(elements).i64("mul").i64const(4).i64("mul").i64("add").set(at);
      }
      f.get(first).set(channel);
      f.for64(channel, (f) => f.get(first).get(channels).i64("add"), 1, () => {
        body(splatAt(f, weight, channel));
        for (const at of [xAt, gAt, dxAt]) f.get(at).get(bytes).i64("add").set(at);
      });
    };
    const sumHU = f.local(F64), sumH = f.local(F64), groupHU = f.local(F64), groupH = f.local(F64);
    zero(f, groupHU);
    zero(f, groupH);
    overChannels((scale) => {
      const shift = splatAt(f, bias, channel);
      zero(f, sumHU);
      zero(f, sumH);
      // Through SiLU, h passes by way of dx, where the second walk finds it.
      if (withSilu) {
        walk(c, pixels, [xAt, gAt, dxAt], (step) => {
          const us = step.load(0), hs = step.load(1);
          us.forEach((u, i) => {
            const gate = c.temporaries.take(), h = hs[i]!;
            normalise(u);
            f.get(u).get(scale).get(shift).f32x4("relaxed_madd").set(u);
            sigmoid(c, u);
            f.set(gate);
            // silu'(y) = s + y s (1 - s)
            f.get(u).get(c.constants.f32(1)).get(gate).f32x4("sub").f32x4("mul");
            f.get(c.constants.f32(1)).f32x4("add").get(gate).f32x4("mul");
            f.get(h).f32x4("mul").set(h);
          });
          step.store(2, hs);
        });
      }
      sumSpans(c, pixels, [xAt, withSilu ? dxAt : gAt], [sumHU, sumH], (step) => {
        const us = step.load(0), hs = step.load(1);
        us.forEach((u, i) => {
          normalise(u);
          f.get(u).get(hs[i]!).f32x4("mul").set(u);
        });
        return [us, hs];
      });
      f.get(partial).get(sample).i64const(2).i64("mul").get(allChannels).i64("mul");
      f.get(channel).i64("add").i64const(4).i64("mul").i64("add").tee(sumAt);
      f.get(sumHU).f32("demote_f64").mem("f32.store");
      f.get(sumAt).get(allChannels).i64const(4).i64("mul").i64("add");
      f.get(sumH).f32("demote_f64").mem("f32.store");
      for (const [group, sum] of [[groupHU, sumHU], [groupH, sumH]] as const) {
        f.get(group).get(scale).f32x4extract(0).f64("promote_f32").get(sum).f64("mul");
        f.f64("add").set(group);
      }
    });
    const meanHU = meanOf(f, groupHU, count), meanH = meanOf(f, groupH, count);
    overChannels((scale) =>
      walk(c, pixels, [xAt, withSilu ? dxAt : gAt, dxAt], (step) => {
        const us = step.load(0), hs = step.load(1);
        us.forEach((u, i) => {
          normalise(u);
          f.get(hs[i]!).get(scale).f32x4("mul").get(meanH).f32x4("sub");
          f.get(u).get(meanHU).f32x4("mul").f32x4("sub").get(rstd).f32x4("mul").set(u);
        });
        step.store(2, us);
      })
    );
  });
  return f;
}

function build(): Module {
  const module = new Module();
  for (const withSilu of [false, true]) {
    module.add(forwardKernel(withSilu));
    module.add(backwardKernel(withSilu));
  }
  module.add(columnSumKernel());
  return module;
}

/** `groupNorm` of the kernel contract. */
export function groupNorm(runtime: WasmRuntime, args: KernelArgs["groupNorm"]): void {
  const { x, weight, bias, groups, eps, silu, out, mean, rstd } = args;
  const [samples, channels, pixels] = x.shape as [number, number, number];
  const slots = SLOTS.fill({
    tasks: samples * groups,
    groups,
    channels: channels / groups,
    pixels,
    x: runtime.address(x),
    weight: runtime.address(weight),
    bias: runtime.address(bias),
    mean: runtime.address(mean),
    rstd: runtime.address(rstd),
    eps,
    out: runtime.address(out),
    g: 0,
    partial: 0,
    allChannels: channels,
  });
  const kernelId = runtime.load("groupNorm", build)(silu ? "groupNormSilu" : "groupNorm");
  runtime.launch(kernelId, slots, { threads: runtime.threadsFor(samples * channels * pixels) });
}

/** `groupNormGrad` of the kernel contract. */
export function groupNormGrad(runtime: WasmRuntime, args: KernelArgs["groupNormGrad"]): void {
  const { x, g, weight, bias, groups, silu, mean, rstd, dx, dWeight, dBias } = args;
  const [samples, channels, pixels] = x.shape as [number, number, number];
  const kernels = runtime.load("groupNorm", build);
  const partial = runtime.allocTemp(samples * 2 * channels * 4, "groupNormGrad");
  try {
    const slots = SLOTS.fill({
      tasks: samples * groups,
      groups,
      channels: channels / groups,
      pixels,
      x: runtime.address(x),
      weight: runtime.address(weight),
      bias: runtime.address(bias),
      mean: runtime.address(mean),
      rstd: runtime.address(rstd),
      eps: 0,
      out: runtime.address(dx),
      g: runtime.address(g),
      partial,
      allChannels: channels,
    });
    runtime.launch(kernels(silu ? "groupNormSiluGrad" : "groupNormGrad"), slots, {
      threads: runtime.threadsFor(samples * channels * pixels),
    });
    launchColumnSums(runtime, kernels("columnSums"), {
      partial,
      groups: 1,
      chunks: samples,
      n: channels,
      outs: [runtime.address(dWeight), runtime.address(dBias)],
      outBytes: [0, 0],
    });
  } finally {
    runtime.freeTemp(partial);
  }
}
