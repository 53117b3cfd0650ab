/**
 * The engine's own products, of the shapes of training steps, under other plans than the planner's:
 * whether it chooses well on this card, and what each way to write the kernel gains.
 */
import type { Device } from "@dit/core";
import { type DType, DTYPE_BYTES } from "@dit/core/tensor";
import type { View } from "../../tensor/backend.ts";
import type { WebGpuBackend } from "../../tensor/webgpu/backend.ts";
import { matmul } from "../../tensor/webgpu/kernels/matmul.ts";
import {
  codeOf,
  PLAIN_CODE,
  type Plan,
  planProduct,
  type ProductSize,
  type TileName,
  TILES,
} from "../../tensor/webgpu/kernels/product_plan.ts";
import type { Report, Row } from "../measure.ts";
import { type Bench, keepsTime } from "./clock.ts";
import { fillUniform } from "./raw.ts";

/** Layers of a block: outputs and inputs. */
type Layers = readonly (readonly [outputs: number, inputs: number])[];

interface Model {
  readonly name: string;
  readonly blocks: number;
  readonly tokens: number;
  readonly dtype: "f32" | "f16";
  readonly layers: Layers;
}

function layersOf(width: number): Layers {
  return [[3 * width, width], [width, width], [4 * width, width], [width, 4 * width]];
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

const KINDS = ["x wT", "g w", "gT x"] as const;
type Kind = (typeof KINDS)[number];

/** Launches of each candidate that are timed, in turns with the others. */
const ROUNDS = 6;
const WARM_MILLISECONDS = 60;
/** Rows of a result that are held to float64, at each of so many places. */
const CHECKED_ROWS = 2;
const CHECKED_PLACES = 4;
/** Beyond this error, in units of the square root of K, a result is wrong. */
const LARGEST_ERROR = { f32: 1e-5, f16: 1e-2 } as const;

/**
 * Times every candidate of every product, and adds up what the layers of a step's blocks would take.
 *
 * @throws {Error} where one of them computes something else.
 */
export async function plans(
  report: Report,
  device: Device,
  { tiny, left, warmer }: Bench,
): Promise<void> {
  const backend = device.backend as WebGpuBackend;
  report.note("traits", { ...backend.runtime.traits });
  const products: Row[] = [];
  const totals: Row[] = [];
  const wrong: string[] = [];
  for (const model of tiny ? TINY : MODELS) {
    using arrays = new Arrays(backend, model);
    const sums = new Map<string, number>();
    for (const [outputs, inputs] of model.layers) {
      for (const kind of KINDS) {
        if (left() < 4) return report.note("plans", "no time left for all of them");
        const product = new Product(arrays, kind, outputs, inputs);
        const candidates = candidatesOf(product.size, backend.runtime.traits);
        const errors = await product.check(candidates);
        if (!tiny) warmer?.keep(WARM_MILLISECONDS);
        const times = await product.time(candidates);
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
          if (!(errors[i]! <= LARGEST_ERROR[model.dtype])) {
            wrong.push(`${kind} of ${m} x ${n} x ${k} by ${name}: an error of ${errors[i]}`);
          }
        });
        const take = (name: string, ms: number) => sums.set(name, (sums.get(name) ?? 0) + ms);
        const of = (name: string) => times[candidates.findIndex((c) => c.name === name)]!;
        for (const name of ["as before", "planned, plain", "planned"]) take(name, of(name));
        take("the best of each", Math.min(...times));
      }
    }
    totals.push({
      "layers of": model.name,
      dtype: model.dtype,
      ...Object.fromEntries([...sums].map(([name, ms]) => [`${name}, ms`, ms * model.blocks])),
    });
    report.add("products by plan", products);
    report.add("products of a step by plan", totals);
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

/** Two arrays for operands and one for results, each as large as the largest of a model. */
class Arrays implements Disposable {
  readonly dtype: DType;
  readonly data: readonly [Float32Array | Float16Array, Float32Array | Float16Array];
  readonly views: readonly View[];
  readonly tokens: number;

  constructor(readonly backend: WebGpuBackend, { tokens, dtype, layers }: Model) {
    this.dtype = dtype;
    this.tokens = tokens;
    const widest = Math.max(...layers.flat());
    const weights = Math.max(...layers.map(([outputs, inputs]) => outputs * inputs));
    const length = Math.max(tokens * widest, weights);
    const ArrayType = dtype === "f16" ? Float16Array : Float32Array;
    this.data = [
      fillUniform(new ArrayType(length), 1),
      fillUniform(new ArrayType(length), 2),
    ];
    this.views = [...this.data, null].map((data) => {
      const buffer = backend.alloc(length * DTYPE_BYTES[dtype], "bench");
      if (data) backend.write(buffer, 0, data as Float32Array<ArrayBuffer>);
      return { buffer, dtype, offset: 0, shape: [length], strides: [1] };
    });
  }

  [Symbol.dispose](): void {
    for (const { buffer } of this.views) this.backend.free(buffer);
  }
}

/** One product of the engine, on arrays that others share. */
class Product {
  readonly size: ProductSize;
  readonly #a: View;
  readonly #b: View;
  readonly #out: View;

  /** Of a layer [outputs, inputs]: its result, or the gradient of its input or of its weights. */
  constructor(readonly arrays: Arrays, kind: Kind, outputs: number, inputs: number) {
    const { tokens, views } = arrays;
    const [left, right, result] = views as [View, View, View];
    const matrix = (view: View, rows: number, columns: number, turned: boolean): View => ({
      ...view,
      shape: turned ? [1, 1, columns, rows] : [1, 1, rows, columns],
      strides: turned ? [0, 0, 1, columns] : [0, 0, columns, 1],
    });
    const [m, n, k] = {
      "x wT": [tokens, outputs, inputs],
      "g w": [tokens, inputs, outputs],
      "gT x": [outputs, inputs, tokens],
    }[kind] as [number, number, number];
    this.size = { batches: 1, m, n, k };
    this.#a = kind === "gT x" ? matrix(left, k, m, true) : matrix(left, m, k, false);
    this.#b = kind === "x wT" ? matrix(right, n, k, true) : matrix(right, k, n, false);
    this.#out = matrix(result, m, n, false);
  }

  #run(plan: Plan, op: string): void {
    const { runtime } = this.arrays.backend;
    const args = { a: this.#a, b: this.#b, out: this.#out, ...NOTHING_ELSE };
    matmul(runtime, args, op, { plan });
  }

  /** Runs each once, and compares some rows of its result with float64. */
  async check(candidates: readonly Candidate[]): Promise<number[]> {
    const { backend, dtype, data } = this.arrays;
    const { m, n, k } = this.size;
    const rows = Array.from(
      { length: CHECKED_PLACES },
      (_, i) => Math.floor((m - CHECKED_ROWS) * i / (CHECKED_PLACES - 1)),
    );
    const at = (view: View, i: number, j: number) => i * view.strides[2]! + j * view.strides[3]!;
    const errors: number[] = [];
    for (const { plan } of candidates) {
      backend.write(this.#out.buffer, 0, new Uint32Array(64).fill(0x7fc07e00));
      this.#run(plan, "check");
      const parts = await Promise.all(
        rows.map((row) => backend.read(this.#out.buffer, dtype, row * n, CHECKED_ROWS * n)),
      );
      let worst = 0;
      parts.forEach((part, p) => {
        for (let sample = 0; sample < 24; sample++) {
          const [r, j] = [sample % CHECKED_ROWS, sample === 0 ? 0 : n - 1 - sample * 7919 % n];
          let want = 0;
          for (let q = 0; q < k; q++) {
            want += data[0][at(this.#a, rows[p]! + r, q)]! * data[1][at(this.#b, q, j)]!;
          }
          const error = Math.abs(want - part[r * n + j]!);
          worst = Number.isNaN(error) ? Infinity : Math.max(worst, error);
        }
      });
      errors.push(worst / Math.sqrt(k));
    }
    return errors;
  }

  /** Milliseconds of each, finishing of split ones included. */
  async time(candidates: readonly Candidate[]): Promise<number[]> {
    const { backend } = this.arrays;
    const names = candidates.map((_, i) => `candidate ${i}`);
    if (!keepsTime(backend)) return names.map(() => 0);
    const profile = await backend.runtime.profile(() => {
      for (let round = 0; round < ROUNDS; round++) {
        candidates.forEach(({ plan }, i) => this.#run(plan, names[i]!));
      }
    });
    return names.map((name) =>
      profile.filter(({ op }) => op === name).reduce(
        (sum, { milliseconds }) => sum + milliseconds,
        0,
      ) / ROUNDS
    );
  }
}

const NOTHING_ELSE = { bias: null, activation: "none", pre: null, accumulate: false } as const;
