import type { View } from "../view.ts";
import {
  type CaseOptions,
  type ConformanceCase,
  conformanceCase,
  cycle,
  type Fill,
  given,
  type MemoryLayout,
  normal,
  permuted,
  uniform,
} from "./fixture.ts";
import { attention } from "../reference/attention.ts";
import { floatsOf, ReferenceBuffer } from "../reference/buffer.ts";
import { contiguousStrides, type Shape, sizeOf } from "../shape.ts";

/** What an attention of the suite may vary. */
export interface Heads {
  readonly batch: number;
  readonly heads: number;
  readonly queries: number;
  readonly keys?: number;
  readonly depth: number;
  /** Heads interleaved in memory, [B, T, H, D], or q, k and v in one [B, T, 3, H, D]. */
  readonly layout?: "heads first" | "tokens first" | "fused qkv";
  readonly fill?: Fill;
  /** Of k, where it is not that of q. */
  readonly fillKeys?: Fill;
  /** Of all arrays but `stats`, which is f32 always. */
  readonly dtype?: "f32" | "f16";
}

/** The layout of q, k or v (`part` 0, 1, 2) or of an output (`part` -1). */
function headLayout(
  layout: Heads["layout"],
  [B, H, T, D]: readonly [number, number, number, number],
  part: number,
): MemoryLayout | undefined {
  if (layout === "tokens first" || (layout === "fused qkv" && part < 0)) {
    return permuted([B, H, T, D], [0, 2, 1, 3]);
  }
  if (layout === "fused qkv") {
    return {
      strides: [T * 3 * H * D, D, 3 * H * D, 1],
      offset: part * H * D,
      extent: B * T * 3 * H * D,
    };
  }
  return undefined;
}

/** Attention and its gradients of these heads. */
export function attentionPair(
  name: string,
  c: Heads,
  options: CaseOptions = {},
): ConformanceCase[] {
  const { batch: B, heads: H, queries: Tq, keys: Tk = Tq, depth: D, layout, dtype = "f32" } = c;
  const title = `${name}, [${B}, ${H}, ${Tq}${Tk === Tq ? "" : ` on ${Tk}`}, ${D}]` +
    (layout && layout !== "heads first" ? `, ${layout}` : "") + (dtype === "f16" ? ", f16" : "");
  const { fill = normal(), fillKeys = fill } = c;
  const scale = 1 / Math.sqrt(D);
  const q4 = [B, H, Tq, D] as const;
  const k4 = [B, H, Tk, D] as const;
  const cost = B * H * Tq * Tk * D;
  const half = dtype === "f16";
  const tolerance = { scaled: half ? 2e-3 : 2e-5 };
  return [
    conformanceCase("attention", title, { cost: 2 * cost, half, tolerance, ...options }, (f) => ({
      q: f.input(q4, fill, dtype, headLayout(layout, q4, 0)),
      k: f.input(k4, fillKeys, dtype, headLayout(layout, k4, 1)),
      v: f.input(k4, normal(), dtype, headLayout(layout, k4, 2)),
      scale,
      out: f.output("out", q4, dtype, headLayout(layout, q4, -1)),
      stats: f.output("stats", [B, H, Tq, 2]),
    })),
    conformanceCase(
      "attentionGrad",
      title,
      { cost: 5 * cost, half, tolerance, ...options },
      (f) => {
        const q = f.values(sizeOf(q4), fill);
        const k = f.values(sizeOf(k4), fillKeys);
        const v = f.values(sizeOf(k4), normal());
        const { out, stats } = forward(q4, k4, q, k, v, scale);
        return {
          q: f.input(q4, given(q), dtype, headLayout(layout, q4, 0)),
          k: f.input(k4, given(k), dtype, headLayout(layout, k4, 1)),
          v: f.input(k4, given(v), dtype, headLayout(layout, k4, 2)),
          out: f.input(q4, given(out), dtype, headLayout(layout, q4, -1)),
          stats: f.input([B, H, Tq, 2], given(stats)),
          g: f.input(q4, normal(), dtype, headLayout(layout, q4, -1)),
          scale,
          dq: f.output("dq", q4, dtype, headLayout(layout, q4, 0)),
          dk: f.output("dk", k4, dtype, headLayout(layout, k4, 1)),
          dv: f.output("dv", k4, dtype, headLayout(layout, k4, 2)),
        };
      },
    ),
  ];
}

/** The output and log-sum-exp that go with these q, k and v: the gradient kernel is given both. */
function forward(
  q4: Shape,
  k4: Shape,
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  scale: number,
): { out: Float64Array; stats: Float64Array } {
  const view = (shape: Shape, data?: Float32Array): View => {
    const buffer = new ReferenceBuffer(sizeOf(shape) * 4);
    if (data) buffer.elements("f32").set(data);
    return { buffer, dtype: "f32", offset: 0, shape, strides: contiguousStrides(shape) };
  };
  const [out, stats] = [view(q4), view([...q4.slice(0, 3), 2])];
  attention({ q: view(q4, q), k: view(k4, k), v: view(k4, v), scale, out, stats });
  return { out: floatsOf(out), stats: floatsOf(stats) };
}

/** Attention and its gradients. */
export function attentionCases(): ConformanceCase[] {
  return [
    ...attentionPair("one token", { batch: 1, heads: 1, queries: 1, depth: 1 }),
    ...attentionPair("one token", { batch: 2, heads: 3, queries: 1, depth: 16 }),
    ...attentionPair("odd", { batch: 2, heads: 3, queries: 17, depth: 16 }),
    ...attentionPair("odd", { batch: 2, heads: 3, queries: 17, depth: 16, layout: "tokens first" }),
    ...attentionPair("odd", { batch: 2, heads: 3, queries: 17, depth: 16, layout: "fused qkv" }),
    ...attentionPair("odd offsets", { batch: 2, heads: 2, queries: 19, depth: 12 }, { lead: 3 }),
    ...attentionPair("odd offsets", {
      batch: 2,
      heads: 2,
      queries: 9,
      depth: 7,
      layout: "fused qkv",
    }, { lead: 1 }),
    ...attentionPair("patches", { batch: 1, heads: 4, queries: 64, depth: 8 }),
    ...attentionPair("wide heads", { batch: 1, heads: 2, queries: 130, depth: 72 }),
    ...attentionPair("many tokens", {
      batch: 1,
      heads: 1,
      queries: 300,
      depth: 64,
      layout: "fused qkv",
    }),
    ...attentionPair("two blocks of keys", {
      batch: 1,
      heads: 1,
      queries: 3,
      keys: 1100,
      depth: 8,
    }),
    ...attentionPair("more keys", { batch: 2, heads: 2, queries: 5, keys: 70, depth: 16 }),
    ...attentionPair("more queries", { batch: 2, heads: 2, queries: 70, keys: 5, depth: 16 }),
    ...attentionPair("one key", { batch: 1, heads: 2, queries: 20, keys: 1, depth: 32 }),
    ...attentionPair("one wide head", { batch: 1, heads: 1, queries: 16, depth: 512 }),
    ...attentionPair("many heads", { batch: 9, heads: 8, queries: 16, depth: 16 }),
    ...(["heads first", "fused qkv"] as const).flatMap((layout) => [
      ...attentionPair("odd", { batch: 2, heads: 3, queries: 17, depth: 16, layout, dtype: "f16" }),
      ...attentionPair("odd depth", {
        batch: 1,
        heads: 2,
        queries: 70,
        keys: 33,
        depth: 9,
        layout,
        dtype: "f16",
      }, { lead: 3 }),
    ]),
    ...attentionPair("large scores", {
      batch: 1,
      heads: 2,
      queries: 33,
      depth: 16,
      fill: normal(12),
    }, { tolerance: { scaled: 1e-3 } }),
    // Whole multiples of a power of two, which every device computes exactly; some are equal.
    ...[2 ** 20, 2 ** 32, 2 ** 40, 2 ** 100].flatMap((size) =>
      [16, 1100].flatMap((keys) =>
        attentionPair(`scores of ${size.toExponential(0)}`, {
          batch: 1,
          heads: 2,
          queries: 9,
          keys,
          depth: 4,
          fill: cycle([1, 0, 0, 0]),
          fillKeys: (random) => size * Math.round(9 * random.uniform() - 4.5),
        })
      )
    ),
    ...attentionPair("scores far from zero", {
      batch: 1,
      heads: 1,
      queries: 20,
      depth: 16,
      fill: uniform(7, 8),
    }, { tolerance: { scaled: 1e-3 } }),
  ];
}
