/**
 * How products are computed: which tile a shape gets, how the kernel is written, and into how many
 * parts a deep product of few tiles is split. Where nothing like it was measured on this GPU, the
 * cheapest of all tiles and splits is taken, by an estimate of what they cost a GPU of so many cores.
 */
import type { GpuTraits } from "../device/traits.ts";
import { threadsOf, type Tile, type TileCode } from "../shader/tile.ts";
import type { MatrixPlan } from "./matrix_plan.ts";
import { type ProductSize, sizeClass } from "./size_class.ts";

/** A tile, and what the estimate needs to know of it. */
interface PlannedTile extends Tile {
  /** Share of a core's multipliers that enough workgroups keep busy. */
  readonly share: number;
  /** Workgroups that a core has registers for. */
  readonly resident: number;
  /** Whether the next slice is read while one is multiplied, where there are registers for it. */
  readonly prefetch: boolean;
  /** Whether it is taken only where it was measured to be the fastest. */
  readonly measured?: boolean;
}

/**
 * Tiles by name. 8 x 8 and 8 x 4 a thread read workgroup memory seldom enough (4 vec4s for 64
 * products) to leave the arithmetic units busy, and their registers (64 and 32 for sums) let
 * several workgroups run at once.
 *
 * Measured on an H200 (8192 x 4608 x 1152, code written out, TFLOPS without and with prefetch):
 * large 37.0 and 38.3, square 36.0 and 37.7, medium 32.6 and 32.9, 4 x 4 a thread 27 to 29 and 21.
 * Slices of 32 (20), of 8 (33), two slices staged by turns (21), and 128 x 128 tiles (31 to 36) were
 * slower; broad was as fast as large (37.2 and 38.5), and is left to measurements. The shares are such that
 * the plans come near the fastest of those tried there on the products of DiT-S/2, DiT-XL/2 and
 * DiT-Mini/4 (`deno task bench gpu --only plans`).
 */
export const TILES = {
  large: {
    rows: 128,
    columns: 64,
    threadRows: 8,
    threadColumns: 8,
    depth: 16,
    share: 0.9,
    resident: 5,
    prefetch: true,
  },
  square: {
    rows: 64,
    columns: 64,
    threadRows: 8,
    threadColumns: 8,
    depth: 16,
    share: 0.82,
    resident: 8,
    prefetch: true,
  },
  medium: {
    rows: 64,
    columns: 64,
    threadRows: 8,
    threadColumns: 4,
    depth: 16,
    share: 0.72,
    resident: 7,
    prefetch: true,
  },
  broad: {
    rows: 64,
    columns: 128,
    threadRows: 8,
    threadColumns: 8,
    depth: 16,
    share: 0.9,
    resident: 5,
    prefetch: true,
    measured: true,
  },
  /** Takes 256 threads, and more workgroup memory than every GPU has. */
  huge: {
    rows: 128,
    columns: 128,
    threadRows: 8,
    threadColumns: 8,
    depth: 16,
    share: 0.8,
    resident: 2,
    prefetch: true,
    measured: true,
  },
  small: {
    rows: 32,
    columns: 32,
    threadRows: 4,
    threadColumns: 4,
    depth: 16,
    share: 0.55,
    resident: 16,
    prefetch: false,
  },
  /** For few rows (a batch of conditioning vectors) or few columns. */
  wide: {
    rows: 16,
    columns: 64,
    threadRows: 4,
    threadColumns: 4,
    depth: 16,
    share: 0.5,
    resident: 16,
    prefetch: false,
  },
  tall: {
    rows: 64,
    columns: 16,
    threadRows: 4,
    threadColumns: 4,
    depth: 16,
    share: 0.5,
    resident: 16,
    prefetch: false,
  },
} as const satisfies Record<string, PlannedTile>;

/** The name of a tile. */
export type TileName = keyof typeof TILES;

/** Tiles that are taken by estimate. */
export const ESTIMATED_TILES: readonly TileName[] =
  (Object.entries(TILES) as [TileName, PlannedTile][])
    .filter(([, { measured }]) => !measured).map(([name]) => name);

/** How a product of one shape is computed. */
export interface Plan {
  readonly tile: TileName;
  /** Parts of the depth, each summed by workgroups of its own. */
  readonly splits: number;
  /** How the kernel is written; it makes no difference to the bits of the result. */
  readonly code: TileCode;
  /** Whether it was measured to be faster than matrix units, which are used otherwise. */
  readonly overMatrices?: boolean;
  /** How matrix units are given it, where another tiling than the usual was measured to be faster. */
  readonly onMatrices?: MatrixPlan;
  /** Whether it was measured to be faster in a launch of its own than in one that it shares. */
  readonly alone?: boolean;
}

/** Whether two products may share a launch: their workgroups are of one size. */
export function mayShare(first: Plan, second: Plan): boolean {
  const threads = ({ tile }: Plan): number => threadsOf(TILES[tile]).all;
  return !first.alone && !second.alone && threads(first) === threads(second);
}

/** What products are planned by. */
export interface ProductPlans {
  readonly traits: GpuTraits;
  /** What was measured, by class of shape. */
  readonly products: Readonly<Record<string, Plan>>;
}

/**
 * How the operands of a matrix product are read, for its class: types, orders, and which of them
 * through an activation.
 */
export function productLayout(
  [a, b]: readonly [string, string],
  [left, right]: readonly [string, string],
  [isActivatedA, isActivatedB]: readonly [boolean, boolean] = [false, false],
): string {
  const of = (order: string, isActivated: boolean) => isActivated ? `activated-${order}` : order;
  const types = a === b ? a : `${a}.${b}`;
  return `${types} ${of(left, isActivatedA)}.${of(right, isActivatedB)}`;
}

/** The class of shapes that have one plan: sizes that are alike, operands that are read alike. */
export function productClass({ batches, m, n, k, layout }: ProductSize): string {
  const sizes = [m, n, k].map(sizeClass).join("x");
  return `${layout} ${sizes}${batches === 1 ? "" : ` x ${sizeClass(batches)}`}`;
}

/** The way that is short to compile. */
export const PLAIN_CODE: TileCode = { masked: false, unrolled: false, prefetch: false };

/** How the kernel of a tile is written for a GPU. */
export function codeOf(tile: TileName, { writtenOut, readsAhead }: CodeTraits): TileCode {
  return {
    masked: writtenOut,
    unrolled: writtenOut,
    prefetch: readsAhead && TILES[tile].prefetch,
  };
}

type CodeTraits = Pick<GpuTraits, "writtenOut" | "readsAhead">;

/** A split shallower than this costs more in partial sums than it gains. */
const SHALLOWEST_SPLIT = 256;
const MOST_SPLITS = 32;

/** Multiplications of a core in a cycle. */
const MULTIPLIERS = 128;
/** Cycles that a slice waits for memory where no other workgroup runs meanwhile. */
const LATENCY = 900;
/** Bytes that memory gives a core in a cycle. */
const BANDWIDTH = 16;
/** Cycles of another launch: it waits for the last, and the host takes as long to record it. */
const LAUNCH = 16_000;
/** What the estimate may err by: splits that gain less are not worth their memory. */
const ERROR = 1.1;
/**
 * Of gradients of weights, which are deep and of few tiles, so that splits cost little memory. More
 * parts than `ERROR` gives took 6 to 11% less time in nine of 14 on an H200, in the layers of three
 * models; the parts that this gives lie near those, and have not been timed themselves.
 */
const ERROR_OF_WEIGHTS = 1.03;

/** Into how many parts a depth may be split. */
export function mostSplitsOf({ k }: Pick<ProductSize, "k">): number {
  return Math.min(MOST_SPLITS, Math.max(1, Math.floor(k / SHALLOWEST_SPLIT)));
}

/**
 * Cycles that a plan takes, about: to be compared with others only. What keeps a slice waiting for
 * memory is hidden by other workgroups of the core, which wait at other times.
 */
function cyclesOf(
  { batches, m, n, k }: ProductSize,
  { tile: name, splits }: Omit<Plan, "code">,
  cores: number,
): number {
  const tile = TILES[name];
  const { rows, columns, depth, resident } = tile;
  const groups = batches * Math.ceil(m / rows) * Math.ceil(n / columns) * splits;
  // The core that has most to do ends last; where a workgroup ends, the next begins.
  const most = Math.ceil(groups / cores);
  const slice = cyclesOfSlice(tile);
  const alone = cyclesAlone(tile);
  const at = Math.min(most, resident);
  const together = Math.max(alone, at * slice + LATENCY / at);
  const rounds = most / at * together;
  const stored = most * rows * columns * 4 / BANDWIDTH + LATENCY;
  const product = Math.ceil(k / splits / depth) * rounds + stored;
  const finish = LAUNCH + batches * m * n * 4 * (splits + 1) / cores / BANDWIDTH;
  return splits === 1 ? product : product + finish;
}

/** Cycles that a busy core takes for a slice. */
function cyclesOfSlice({ rows, columns, depth, share }: PlannedTile): number {
  return rows * columns * depth / MULTIPLIERS / share;
}

/** Cycles that a slice takes a workgroup that has a core for itself: it waits for memory. */
function cyclesAlone(tile: PlannedTile): number {
  // A workgroup of fewer threads than a core has multipliers keeps some of them idle.
  return cyclesOfSlice(tile) * Math.max(1, MULTIPLIERS / threadsOf(tile).all) + LATENCY;
}

/** Workgroups of a tile that keep a core busy, as far as each leaves it idle. */
export function slotsOfCore(name: TileName): number {
  return cyclesAlone(TILES[name]) / cyclesOfSlice(TILES[name]);
}

const known = new WeakMap<ProductPlans, Map<string, Plan>>();

/** The plan that was measured for this class of shape, or else the one that is estimated to cost least. */
export function planProduct(size: ProductSize, plans: ProductPlans): Plan {
  let chosen = known.get(plans);
  if (!chosen) known.set(plans, chosen = new Map());
  const { batches, m, n, k, layout, isOfWeights = false } = size;
  const key = `${batches} ${m} ${n} ${k} ${layout} ${isOfWeights}`;
  let plan = chosen.get(key);
  if (!plan) {
    const measured = layout === undefined ? undefined : plans.products[productClass(size)];
    chosen.set(key, plan = measured ?? estimateProduct(size, plans.traits));
  }
  return plan;
}

/**
 * Of the plans that cost least, give or take what the estimate may err by, one with few splits. A
 * gradient of weights gets workgroups as large as those of the gradient of the input, where they cost
 * hardly more, to share a launch with it.
 */
export function estimateProduct(size: ProductSize, traits: GpuTraits): Plan {
  const all = estimates(size, ESTIMATED_TILES, traits);
  let chosen = all;
  if (size.isOfWeights) {
    const { batches, m: outputs, n: inputs, k: rows } = size;
    const ofInput = { batches, m: rows, n: inputs, k: outputs };
    const { threads } = estimates(ofInput, ESTIMATED_TILES, traits);
    const alike = ESTIMATED_TILES.filter((tile) => threadsOf(TILES[tile]).all === threads);
    const shared = estimates(size, alike, traits);
    if (shared.least <= ERROR * all.least) chosen = shared;
  }
  const { tile, splits } = chosen;
  return { tile, splits, code: codeOf(tile, traits) };
}

/** The least cycles by these tiles, and a plan of few splits that takes hardly more. */
function estimates(size: ProductSize, tiles: readonly TileName[], traits: GpuTraits) {
  const bySplits = Array.from(
    { length: mostSplitsOf(size) },
    (_, i) => cheapestTile(size, i + 1, tiles, traits),
  );
  const least = Math.min(...bySplits.map(({ cycles }) => cycles));
  const error = size.isOfWeights ? ERROR_OF_WEIGHTS : ERROR;
  const { tile, splits } = bySplits.find(({ cycles }) => cycles <= error * least)!;
  return { least, tile, splits, threads: threadsOf(TILES[tile]).all };
}

function cheapestTile(
  size: ProductSize,
  splits: number,
  tiles: readonly TileName[],
  { cores }: GpuTraits,
) {
  let best: { tile: TileName; splits: number; cycles: number } | undefined;
  for (const tile of tiles) {
    const cycles = cyclesOf(size, { tile, splits }, cores);
    if (best === undefined || cycles < best.cycles) best = { tile, splits, cycles };
  }
  return best!;
}
