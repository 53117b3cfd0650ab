/**
 * What the kernels of a GPU are planned by, as plain JSON: properties of the GPU, and the variants
 * that were the fastest there, by class of shape. Plans decide the order of sums, so results have
 * the same bits only where the plans are the same.
 */
import type { AttentionCode, AttentionPlan, AttentionPlans } from "./kernels/attention_plan.ts";
import type { MatrixPlan, WorkgroupLimits } from "./kernels/matrix_plan.ts";
import { type Plan, type ProductPlans, TILES } from "./kernels/product_plan.ts";
import type { GpuTraits } from "./device/traits.ts";
import type { RowPlans } from "./shader/rows.ts";
import { threadsOf, workgroupBytes } from "./shader/tile.ts";

/** Plans of all kernels that have variants. */
export interface KernelPlans extends ProductPlans, AttentionPlans, RowPlans {
  readonly traits: GpuTraits;
}

/** Those of a GPU on which nothing was measured. */
export function usualPlans(traits: GpuTraits): KernelPlans {
  return { traits, products: {}, attention: {}, rows: {} };
}

/**
 * The plans that a GPU can run, and the classes of those that it cannot.
 */
export function fittingPlans(
  plans: KernelPlans,
  limits: WorkgroupLimits,
  hasSubgroups: boolean,
): { fitting: KernelPlans; unfit: string[] } {
  const unfit = hasSubgroups
    ? []
    : Object.keys(plans.rows).map((lanes) => `rows of ${lanes} lanes`);
  const fits = ([name, { tile }]: [string, Plan]): boolean => {
    const isFit = tileFits(tile, limits);
    if (!isFit) unfit.push(name);
    return isFit;
  };
  const products = Object.fromEntries(Object.entries(plans.products).filter(fits));
  const rows = hasSubgroups ? plans.rows : {};
  return { fitting: { ...plans, products, rows }, unfit };
}

/** Whether a GPU has the workgroup memory and the threads for a tile. */
export function tileFits(name: Plan["tile"], limits: WorkgroupLimits): boolean {
  const tile = TILES[name];
  return workgroupBytes(tile) <= limits.maxComputeWorkgroupStorageSize &&
    threadsOf(tile).all <= limits.maxComputeInvocationsPerWorkgroup;
}

/**
 * Reads plans that were written as JSON.
 *
 * @throws {RangeError} naming the field that is not as expected.
 */
export function readPlans(value: unknown): KernelPlans {
  const { traits, products, attention, rows } = fieldsOf(value, "plans");
  return {
    traits: readTraits(traits),
    products: eachOf(products, "products", readProduct),
    attention: eachOf(attention, "attention", readAttention),
    rows: eachOf(rows, "rows", readRows),
  };
}

function readTraits(value: unknown): GpuTraits {
  const { cores, writtenOut, readsAhead } = fieldsOf(value, "traits");
  return {
    cores: wholeOf(cores, "traits.cores", 1 << 16),
    writtenOut: toggleOf(writtenOut, "traits.writtenOut"),
    readsAhead: toggleOf(readsAhead, "traits.readsAhead"),
  };
}

function readProduct(value: unknown, at: string): Plan {
  const { tile, splits, code, overMatrices, onMatrices, alone } = fieldsOf(value, at);
  const { masked, unrolled, prefetch } = fieldsOf(code, `${at}.code`);
  if (typeof tile !== "string" || !Object.hasOwn(TILES, tile)) {
    throw wrong(`${at}.tile`, `one of ${Object.keys(TILES).join(", ")}`, tile);
  }
  return {
    tile: tile as Plan["tile"],
    splits: wholeOf(splits, `${at}.splits`, 1024),
    code: {
      masked: toggleOf(masked, `${at}.code.masked`),
      unrolled: toggleOf(unrolled, `${at}.code.unrolled`),
      prefetch: toggleOf(prefetch, `${at}.code.prefetch`),
    },
    ...overMatricesOf(overMatrices, at),
    ...(onMatrices === undefined
      ? {}
      : { onMatrices: readMatrices(onMatrices, `${at}.onMatrices`) }),
    ...(alone === undefined ? {} : { alone: toggleOf(alone, `${at}.alone`) }),
  };
}

function readMatrices(value: unknown, at: string): MatrixPlan {
  const { matrices, depth, splits } = fieldsOf(value, at);
  return {
    matrices: wholeOf(matrices, `${at}.matrices`, 16),
    depth: wholeOf(depth, `${at}.depth`, 1024),
    splits: wholeOf(splits, `${at}.splits`, 1024),
  };
}

function readAttention(value: unknown, at: string): AttentionPlan {
  const fields = fieldsOf(value, at);
  const codeOf = (kernel: "forward" | "queries" | "keys"): AttentionCode => {
    const { groups, masked, unrolled, kept, overMatrices } = fieldsOf(
      fields[kernel],
      `${at}.${kernel}`,
    );
    return {
      groups: wholeOf(groups, `${at}.${kernel}.groups`, 2) as 1 | 2,
      masked: toggleOf(masked, `${at}.${kernel}.masked`),
      unrolled: toggleOf(unrolled, `${at}.${kernel}.unrolled`),
      ...(kept === undefined ? {} : { kept: toggleOf(kept, `${at}.${kernel}.kept`) }),
      ...overMatricesOf(overMatrices, `${at}.${kernel}`),
    };
  };
  const { apart } = fields;
  return {
    forward: codeOf("forward"),
    queries: codeOf("queries"),
    keys: codeOf("keys"),
    ...(apart === undefined ? {} : { apart: toggleOf(apart, `${at}.apart`) }),
  };
}

function overMatricesOf(value: unknown, at: string): { readonly overMatrices?: boolean } {
  return value === undefined ? {} : { overMatrices: toggleOf(value, `${at}.overMatrices`) };
}

function readRows(value: unknown, at: string): "subgroups" {
  if (value === "subgroups") return value;
  throw wrong(at, '"subgroups"', value);
}

function fieldsOf(value: unknown, at: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw wrong(at, "an object", value);
  }
  return value as Record<string, unknown>;
}

function eachOf<T>(
  value: unknown,
  at: string,
  read: (value: unknown, at: string) => T,
): Readonly<Record<string, T>> {
  return Object.fromEntries(
    Object.entries(fieldsOf(value, at)).map(([name, each]) => [name, read(each, `${at}.${name}`)]),
  );
}

function wholeOf(value: unknown, at: string, most: number): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 1 && value <= most) {
    return value;
  }
  throw wrong(at, `a whole number from 1 to ${most}`, value);
}

function toggleOf(value: unknown, at: string): boolean {
  if (typeof value === "boolean") return value;
  throw wrong(at, "true or false", value);
}

function wrong(at: string, expected: string, value: unknown): RangeError {
  const text = value === undefined ? "nothing" : JSON.stringify(value) ?? String(value);
  return new RangeError(`${at}: expected ${expected} but got ${text.slice(0, 60)}`);
}
