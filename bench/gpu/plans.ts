/**
 * The engine's own products, of the shapes of training steps, under other plans than the planner's:
 * whether it chooses well on this card, and what each way to write the kernel gains.
 */
import type { Device } from "@dit/core";
import type { WebGpuBackend } from "../../tensor/webgpu/backend.ts";
import {
  codeOf,
  PLAIN_CODE,
  type Plan,
  planProduct,
  type TileName,
  TILES,
} from "../../tensor/webgpu/kernels/product_plan.ts";
import type { ProductSize } from "../../tensor/webgpu/kernels/size_class.ts";
import {
  isActivated,
  kindsOf,
  layersOf,
  LinearArrays,
  LinearGradients,
  type LinearLayers,
  LinearProduct,
} from "../../tensor/webgpu/tune/products.ts";
import { choose } from "../../tensor/webgpu/tune/choose.ts";
import { GpuClock } from "../../tensor/webgpu/tune/clock.ts";
import type { Report, Row } from "../measure.ts";
import type { Bench } from "./clock.ts";

interface Model extends LinearLayers {
  readonly name: string;
  readonly blocks: number;
}

/** At batch 32 of 256 tokens, and the demo's at 64 of 64. */
const MODELS: readonly Model[] = [
  { name: "DiT-S/2", blocks: 12, tokens: 8192, dtype: "f32", layers: layersOf(384) },
  { name: "DiT-Mini/4", blocks: 4, tokens: 4096, dtype: "f32", layers: layersOf(128) },
  { name: "DiT-XL/2", blocks: 28, tokens: 8192, dtype: "f16", layers: layersOf(1152) },
];
const TINY: readonly Model[] = [
  { name: "tiny", blocks: 1, tokens: 200, dtype: "f32", layers: [[72, 24]] },
  { name: "tiny", blocks: 1, tokens: 200, dtype: "f16", layers: [[72, 24]] },
];

/**
 * Times every candidate of every product, and adds up what the layers of a step's blocks would take.
 *
 * @throws {Error} where one of them computes something else.
 */
export async function plans(
  report: Report,
  device: Device,
  { tiny, left }: Bench,
): Promise<void> {
  const backend = device.backend as WebGpuBackend;
  using clock = new GpuClock(backend);
  report.note("traits", { ...backend.runtime.traits });
  const products: Row[] = [];
  const totals: Row[] = [];
  const shared: Row[] = [];
  const wrong: string[] = [];
  for (const model of tiny ? TINY : MODELS) {
    using arrays = new LinearArrays(backend, model);
    const sums = new Map<string, number>();
    for (const layer of model.layers) {
      const [outputs, inputs] = layer;
      for (const kind of kindsOf(model.dtype, layer)) {
        if (left() < 4) return report.note("plans", "no time left for all of them");
        const product = new LinearProduct(arrays, kind, outputs, inputs);
        const candidates = candidatesOf(product.size, backend.runtime.traits);
        const errors: number[] = [];
        for (const { plan } of candidates) errors.push(await product.error(plan));
        const launches = candidates.map(({ plan }) => (op: string) => product.run(plan, op));
        const times = await clock.time(launches);
        const { m, n, k } = product.size;
        const flops = 2 * m * n * k;
        candidates.forEach(({ name, plan }, i) => {
          const ms = times[i]!;
          products.push({
            model: model.name,
            product: kind,
            "M x N x K": `${m} x ${n} x ${k}`,
            plan: name,
            tile: plan.tile,
            splits: plan.splits,
            "TFLOPS": flops / ms / 1e9,
            ms,
            error: errors[i]!,
          });
          if (!product.isRight(errors[i]!)) {
            wrong.push(`${kind} of ${m} x ${n} x ${k} by ${name}: an error of ${errors[i]}`);
          }
        });
        if (isActivated(kind)) continue; // the same layer's, as a training step has it
        const take = (name: string, ms: number) => sums.set(name, (sums.get(name) ?? 0) + ms);
        const of = (name: string) => times[candidates.findIndex((c) => c.name === name)]!;
        for (const name of ["as before", "planned, plain", "planned"]) take(name, of(name));
        take("the best of each", Math.min(...times));
      }
      const planOf = (size: ProductSize) => planProduct(size, backend.runtime.plans);
      const grads = new LinearGradients(arrays, layer, planOf);
      const subject = { shape: `${inputs} to ${outputs}`, variants: grads.variants() };
      if (subject.variants.length === 0) continue;
      for (const row of (await choose("gradients", subject, clock)).rows) {
        const { shape, variant, milliseconds: ms } = row;
        shared.push({ model: model.name, dtype: model.dtype, layer: shape, in: variant, ms });
        if (!Number.isFinite(ms)) wrong.push(`gradients of a layer ${shape} in ${variant}`);
      }
    }
    totals.push({
      "layers of": model.name,
      dtype: model.dtype,
      ...Object.fromEntries([...sums].map(([name, ms]) => [`${name}, ms`, ms * model.blocks])),
    });
    report.add("products by plan", products);
    report.add("products of a step by plan", totals);
    report.add("gradients of layers", shared);
  }
  if (wrong.length > 0) throw new Error(wrong.join("; "));
}

/** A plan to be timed. */
interface Candidate {
  readonly name: string;
  readonly plan: Plan;
}

/** The plan, what it was before there was an estimate, and what is near it. */
function candidatesOf(size: ProductSize, traits: WebGpuBackend["runtime"]["traits"]): Candidate[] {
  const planned = planProduct(size, { traits, products: {} });
  const most = Math.max(1, Math.floor(size.k / 256));
  const list: Candidate[] = [
    { name: "planned", plan: planned },
    { name: "planned, plain", plan: { ...planned, code: PLAIN_CODE } },
    {
      name: "planned, no prefetch",
      plan: { ...planned, code: { ...planned.code, prefetch: false } },
    },
    { name: "as before", plan: before(size) },
  ];
  const add = (tile: TileName, splits: number) => {
    const plan = { tile, splits: Math.max(1, Math.min(most, splits)), code: codeOf(tile, traits) };
    const known = list.some(({ plan: p }) => p.tile === plan.tile && p.splits === plan.splits);
    if (!known) list.push({ name: "another", plan });
  };
  const { tile, splits } = planned;
  const tiles = (name: TileName) =>
    Math.ceil(size.m / TILES[name].rows) * Math.ceil(size.n / TILES[name].columns);
  for (const other of ["large", "square", "medium"] as const) {
    add(other, splits * tiles(tile) / tiles(other) | 0);
  }
  if (size.k >= 2048) {
    for (const factor of [0.5, 1.5, 2]) add(tile, Math.round(splits * factor));
  }
  return list;
}

/** The largest tile of which there are 256, if need be by splitting the depth. */
function before({ m, n, k }: ProductSize): Plan {
  const mostSplits = Math.min(32, Math.max(1, Math.floor(k / 256)));
  let plan: Plan | undefined;
  for (const tile of ["large", "medium", "small"] as const) {
    const tiles = Math.ceil(m / TILES[tile].rows) * Math.ceil(n / TILES[tile].columns);
    const splits = Math.min(mostSplits, Math.ceil(256 / tiles));
    plan = { tile, splits, code: PLAIN_CODE };
    if (tiles * splits >= 256) break;
  }
  return plan!;
}
