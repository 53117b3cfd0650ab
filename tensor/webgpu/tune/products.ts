/** Products of linear layers, to be measured under any plan: a layer's own, and those of its gradients. */
import type { Activation } from "../../kernels.ts";
import type { View } from "../../view.ts";
import { DTYPE_BYTES } from "../../dtype.ts";
import { ACTIVATIONS } from "../../reference/math.ts";
import type { WebGpuBackend } from "../backend.ts";
import type { GpuTraits } from "../device/traits.ts";
import { matmul } from "../kernels/matmul.ts";
import {
  MATRIX_TILINGS,
  matrixSplits,
  tileOfMatrices,
  type WorkgroupLimits,
} from "../kernels/matrix_plan.ts";
import {
  codeOf,
  estimateProduct,
  mayShare,
  mostSplitsOf,
  PLAIN_CODE,
  type Plan,
  productClass,
  productLayout,
  type TileName,
  TILES,
} from "../kernels/product_plan.ts";
import type { ProductSize } from "../kernels/size_class.ts";
import { tileFits } from "../plans.ts";
import { FilledArray, type FloatType, poison, viewOf } from "./arrays.ts";
import type { Variant } from "./choose.ts";

/** Layers of a model: outputs and inputs. */
export type Layers = readonly (readonly [outputs: number, inputs: number])[];

/** Layers that are all applied to as many rows. */
export interface LinearLayers {
  readonly tokens: number;
  readonly dtype: FloatType;
  readonly layers: Layers;
}

/** The linear layers of a transformer's block of this width. */
export function layersOf(width: number): Layers {
  return [[3 * width, width], [width, width], [4 * width, width], [width, 4 * width]];
}

/** A layer's result, the gradient of its input, and that of its weights. */
export const KINDS = ["x wT", "g w", "gT x"] as const;

/** Those of a layer that reads x through an activation. */
const ACTIVATED_KINDS = ["f(x) wT", "gT f(x)"] as const;

/** One of the products of a layer. */
export type Kind = (typeof KINDS)[number] | (typeof ACTIVATED_KINDS)[number];

/** The products of a layer; of those of f32 the narrowing one of an MLP reads through an activation. */
export function kindsOf(dtype: FloatType, [outputs, inputs]: Layers[number]): readonly Kind[] {
  return dtype === "f32" && inputs > outputs ? [...KINDS, ...ACTIVATED_KINDS] : KINDS;
}

/** Whether a product reads x through an activation. */
export function isActivated(kind: Kind): boolean {
  return (ACTIVATED_KINDS as readonly string[]).includes(kind);
}

/** The activation of DiT. */
const ACTIVATION = "geluTanh";

/** Rows of a result that are held to float64, at each of so many places. */
const CHECKED_ROWS = 2;
const CHECKED_PLACES = 4;
/** Beyond this error, in units of the square root of K, a result is wrong. */
const LARGEST_ERROR = { f32: 1e-5, f16: 1e-2 } as const;

/** Two arrays for operands and two for results, each as large as the largest of all layers. */
export class LinearArrays implements Disposable {
  readonly operands: readonly [FilledArray, FilledArray];
  /** Gradients of weights go to the second, so that nothing has to wait for the first. */
  readonly results: readonly [FilledArray, FilledArray];

  constructor(readonly backend: WebGpuBackend, readonly of: LinearLayers) {
    const { tokens, dtype, layers } = of;
    const weights = Math.max(...layers.map(([outputs, inputs]) => outputs * inputs));
    const length = Math.max(tokens * Math.max(...layers.flat()), weights);
    this.operands = [
      new FilledArray(backend, dtype, length, 1),
      new FilledArray(backend, dtype, length, 2),
    ];
    this.results = [
      new FilledArray(backend, dtype, length, 3),
      new FilledArray(backend, dtype, weights, 4),
    ];
  }

  [Symbol.dispose](): void {
    for (const array of [...this.operands, ...this.results]) array[Symbol.dispose]();
  }
}

/** What a product gives: a layer's result, the gradient of its weights, or else that of its input. */
function roleOf(kind: Kind): { readonly isOfResult: boolean; readonly isOfWeights: boolean } {
  return { isOfResult: kind.endsWith("wT"), isOfWeights: kind.startsWith("gT") };
}

const NOTHING_ELSE = { bias: null, activation: "none", pre: null, accumulate: false } as const;

/** One product of the engine, on arrays that others share. */
export class LinearProduct {
  readonly size: ProductSize;
  readonly #a: View;
  readonly #b: View;
  readonly #out: View;
  readonly #activations: { readonly activationA: Activation; readonly activationB: Activation };

  /** Of a layer [outputs, inputs]. */
  constructor(readonly arrays: LinearArrays, kind: Kind, outputs: number, inputs: number) {
    const { operands: [left, right], results, of: { tokens, dtype } } = arrays;
    const matrix = (array: FilledArray, rows: number, columns: number, turned: boolean): View =>
      viewOf(
        array.buffer,
        dtype,
        turned ? [1, 1, columns, rows] : [1, 1, rows, columns],
        turned ? [0, 0, 1, columns] : [0, 0, columns, 1],
      );
    this.size = LinearProduct.sizeOf(kind, tokens, dtype, [outputs, inputs]);
    const { m, n, k } = this.size;
    const { isOfResult, isOfWeights } = roleOf(kind);
    this.#a = isOfWeights ? matrix(left, k, m, true) : matrix(left, m, k, false);
    this.#b = isOfResult ? matrix(right, n, k, true) : matrix(right, k, n, false);
    this.#activations = {
      activationA: kind === "f(x) wT" ? ACTIVATION : "none",
      activationB: kind === "gT f(x)" ? ACTIVATION : "none",
    };
    this.#out = matrix(results[isOfWeights ? 1 : 0], m, n, false);
  }

  /** What it is planned by. */
  static sizeOf(
    kind: Kind,
    tokens: number,
    dtype: FloatType,
    [outputs, inputs]: Layers[number],
  ): ProductSize {
    const { isOfResult, isOfWeights } = roleOf(kind);
    const [m, n, k] = isOfResult
      ? [tokens, outputs, inputs] as const
      : isOfWeights
      ? [outputs, inputs, tokens] as const
      : [tokens, inputs, outputs] as const;
    const layout = productLayout(
      [dtype, dtype],
      [isOfWeights ? "across" : "deep", isOfResult ? "deep" : "across"],
      [kind === "f(x) wT", kind === "gT f(x)"],
    );
    return { batches: 1, m, n, k, layout, isOfWeights };
  }

  /** Whether it runs on matrix units where it has no plan. */
  get isOnMatrices(): boolean {
    const { runtime } = this.arrays.backend;
    const { matrices, traits } = runtime;
    return matrices !== null && this.arrays.of.dtype === "f16" &&
      matrixSplits(this.size, matrices, traits) !== null;
  }

  /**
   * Plans to measure, the usual one first, which is none where there are matrix units: then an
   * ordinary kernel, other tilings of matrices, and other ordinary kernels.
   */
  candidates(traits: GpuTraits): (Plan | null)[] {
    const { limits, matrices } = this.arrays.backend.runtime;
    const ordinary = productCandidates(this.size, { traits, limits });
    if (!this.isOnMatrices) return ordinary;
    const [first, ...others] = ordinary.map((plan) => ({ ...plan, overMatrices: true }));
    const usual = ordinary[0]!;
    const tiled = MATRIX_TILINGS.flatMap((tiling): Plan[] => {
      const { unit, matrices: count, depth } = matrices!;
      const tile = tileOfMatrices(unit, tiling, limits);
      const splits = tile && matrixSplits(this.size, tile, traits);
      const isUsual = tiling.matrices === count && tiling.depth === depth;
      return splits === null || isUsual ? [] : [{ ...usual, onMatrices: { ...tiling, splits } }];
    });
    return [null, first!, ...tiled, ...others];
  }

  /** Launches it; on matrix units without a plan. */
  run(plan: Plan | null, op: string): void {
    const { runtime } = this.arrays.backend;
    const args = { a: this.#a, b: this.#b, out: this.#out, ...this.#activations, ...NOTHING_ELSE };
    matmul(runtime, args, op, plan ? { plan } : {});
  }

  /**
   * Runs it once, by itself or with others, and compares some rows of its result with float64: the
   * error over the root of K.
   */
  async error(plan: Plan | null, run = () => this.run(plan, "check")): Promise<number> {
    const { backend, operands: [left, right], of: { dtype } } = this.arrays;
    const { m, n, k } = this.size;
    const rows = Array.from(
      { length: CHECKED_PLACES },
      (_, i) => Math.floor((m - CHECKED_ROWS) * i / (CHECKED_PLACES - 1)),
    );
    const at = (view: View, i: number, j: number) => i * view.strides[2]! + j * view.strides[3]!;
    poison(backend, this.#out.buffer, Math.min(256, m * n * DTYPE_BYTES[dtype]));
    run();
    const parts = await Promise.all(
      rows.map((row) => backend.read(this.#out.buffer, dtype, row * n, CHECKED_ROWS * n)),
    );
    const ofA = ACTIVATIONS[this.#activations.activationA];
    const ofB = ACTIVATIONS[this.#activations.activationB];
    let worst = 0;
    parts.forEach((part, p) => {
      for (let sample = 0; sample < 24; sample++) {
        const [r, j] = [sample % CHECKED_ROWS, sample === 0 ? 0 : n - 1 - sample * 7919 % n];
        let want = 0;
        for (let q = 0; q < k; q++) {
          want += ofA(left.at(at(this.#a, rows[p]! + r, q))) * ofB(right.at(at(this.#b, q, j)));
        }
        const error = Math.abs(want - part[r * n + j]!);
        worst = Number.isNaN(error) ? Infinity : Math.max(worst, error);
      }
    });
    return worst / Math.sqrt(k);
  }

  /** Whether an error is one of rounding. */
  isRight(error: number): boolean {
    return error <= LARGEST_ERROR[this.arrays.of.dtype];
  }
}

/** Plans of products by class that a measurement decides: null for the estimated one. */
export type Decided = Readonly<Record<string, Plan | null>>;

/** The gradients of a layer's input and weights, in a launch that they share or one after the other. */
export class LinearGradients {
  readonly #products: readonly [LinearProduct, LinearProduct];
  /** Of the gradient of the input, and of that of the weights. */
  readonly #classes: readonly [string, string];
  /** Of the gradient of the input, and of that of the weights. */
  readonly plans: readonly [Plan, Plan];

  /** Of a layer, by the plans that its products have. */
  constructor(
    readonly arrays: LinearArrays,
    layer: Layers[number],
    planOf: (size: ProductSize) => Plan,
  ) {
    const { dtype } = arrays.of;
    const ofWeights = kindsOf(dtype, layer).findLast((kind) => roleOf(kind).isOfWeights)!;
    const [outputs, inputs] = layer;
    const product = (kind: Kind) => new LinearProduct(arrays, kind, outputs, inputs);
    this.#products = [product("g w"), product(ofWeights)];
    this.plans = this.#products.map(({ size }) => planOf(size)) as [Plan, Plan];
    this.#classes = this.#products.map(({ size }) => productClass(size)) as [string, string];
  }

  /** Whether there is anything to choose: not where a launch that adds up parts is between them. */
  get mayShare(): boolean {
    return this.plans[0].splits === 1 && mayShare(...this.plans) &&
      !this.#products.some(({ isOnMatrices }) => isOnMatrices);
  }

  /**
   * Sharing a launch, as is usual, and not. Where these plans, each the fastest for itself, cannot share
   * one, those that are `estimated` may still be faster together.
   */
  variants(estimated?: LinearGradients): Variant<Decided>[] {
    const [ofInput, ofWeights] = this.#classes;
    if (this.mayShare) {
      const apart = { ...this.plans[1], alone: true };
      return [
        this.#variant("one launch", {}),
        this.#variant("two launches", { [ofWeights]: apart }, apart),
      ];
    }
    if (!estimated?.mayShare) return [];
    return [
      estimated.#variant("one launch", { [ofInput]: null, [ofWeights]: null }),
      this.#variant("two launches, each as measured", {}),
    ];
  }

  #variant(name: string, plan: Decided, ofWeights = this.plans[1]): Variant<Decided> {
    const launch = (op: string): void => {
      this.#products[0].run(this.plans[0], op);
      this.#products[1].run(ofWeights, op);
    };
    const isRight = async (): Promise<boolean> => {
      for (const product of this.#products) {
        const error = await product.error(null, () => launch("check"));
        if (!product.isRight(error)) return false;
      }
      return true;
    };
    return { name, plan, launch, isRight };
  }
}

/** Names the variant that is usual where there are matrix units. */
export const MATRIX_UNITS = "matrix units";

/** Names a plan: tile, code and parts of the depth. */
export function planText(plan: Plan | null): string {
  if (plan === null) return MATRIX_UNITS;
  if (plan.onMatrices) {
    const { matrices, depth, splits } = plan.onMatrices;
    const parts = splits === 1 ? "" : ` in ${splits}`;
    return `${MATRIX_UNITS}, ${matrices}x${matrices} of each subgroup, ${depth} deep${parts}`;
  }
  const { tile, splits, code } = plan;
  const { masked, unrolled, prefetch } = code;
  const letters = `${masked ? "m" : ""}${unrolled ? "u" : ""}${prefetch ? "p" : ""}`;
  return `${tile}${letters && `-${letters}`}${splits === 1 ? "" : ` in ${splits}`}`;
}

/** Shares of the splits that fill the GPU by the estimate: it may be right by this factor. */
const SPLIT_FACTORS = [0.5, 0.75, 1, 1.5, 2] as const;

/**
 * The plan that is estimated to cost least, first; then it with each way to write its kernel; the
 * other large tiles, in as many workgroups; and, of deep products, more and fewer parts.
 */
export function productCandidates(
  size: ProductSize,
  { traits, limits }: { readonly traits: GpuTraits; readonly limits: WorkgroupLimits },
): Plan[] {
  const usual = estimateProduct(size, traits);
  const list: Plan[] = [];
  const add = (plan: Plan): void => {
    const fits = tileFits(plan.tile, limits);
    if (fits && !list.some((known) => planText(known) === planText(plan))) list.push(plan);
  };
  const { tile, splits } = usual;
  add(usual);
  const full = { masked: true, unrolled: true, prefetch: false };
  for (const code of [full, { ...full, prefetch: true }, PLAIN_CODE]) add({ ...usual, code });
  const tiles = (name: TileName): number =>
    Math.ceil(size.m / TILES[name].rows) * Math.ceil(size.n / TILES[name].columns);
  const most = mostSplitsOf(size);
  const inParts = (name: TileName, parts: number): Plan => ({
    tile: name,
    splits: Math.max(1, Math.min(most, Math.round(parts))),
    code: codeOf(name, traits),
  });
  for (const other of ["broad", "large", "square", "medium", "huge"] as const) {
    if (other !== tile) add(inParts(other, splits * tiles(tile) / tiles(other)));
  }
  if (most >= 4) { for (const factor of SPLIT_FACTORS) add(inParts(tile, splits * factor)); }
  return list;
}
