/** How many cores a GPU of unknown name has: as many as take its work at once. */
import type { WebGpuBackend } from "../backend.ts";
import { matmul } from "../kernels/matmul.ts";
import { codeOf, slotsOfCore, TILES } from "../kernels/product_plan.ts";
import { FilledArray, viewOf } from "./arrays.ts";
import type { Launch, TuneClock } from "./clock.ts";

/** Workgroups that keep any GPU busy. */
const MANY = 1024;
/** Depths of products, whose difference is free of what any launch costs. */
const DEPTHS = [1024, 3072] as const;
const TILE = "large";
/** Beyond that it was measured wrong. */
const MOST_CORES = 1024;

/**
 * Slots, by Little's law: what the GPU does of a workgroup's work in the time that a workgroup alone
 * takes for it. A core has as many slots as one of its workgroups leaves idle.
 *
 * @returns Null where times make no sense.
 */
export async function measureCores(
  backend: WebGpuBackend,
  clock: TuneClock,
): Promise<number | null> {
  const { rows, columns } = TILES[TILE];
  const deepest = DEPTHS[1];
  using left = new FilledArray(backend, "f32", deepest, 1);
  using right = new FilledArray(backend, "f32", columns * deepest, 2);
  using result = new FilledArray(backend, "f32", MANY * rows * columns, 3);
  const plan = { tile: TILE, splits: 1, code: codeOf(TILE, backend.runtime.traits) } as const;
  const product = (groups: number, k: number): Launch => {
    const m = groups * rows;
    const args = {
      // All rows are one, so that memory has no say.
      a: viewOf(left.buffer, "f32", [1, 1, m, k], [0, 0, 0, 1]),
      b: viewOf(right.buffer, "f32", [1, 1, k, columns], [0, 0, 1, k]),
      out: viewOf(result.buffer, "f32", [1, 1, m, columns], [0, 0, columns, 1]),
      bias: null,
      activation: "none",
      pre: null,
      accumulate: false,
    } as const;
    return (op) => matmul(backend.runtime, args, op, { plan });
  };
  const launches = [1, MANY].flatMap((groups) => DEPTHS.map((k) => product(groups, k)));
  const [one, oneDeep, many, manyDeep] = await clock.time(launches) as [
    number,
    number,
    number,
    number,
  ];
  const slots = MANY * (oneDeep - one) / (manyDeep - many);
  const cores = Math.round(slots / slotsOfCore(TILE));
  return manyDeep > many && cores >= 1 && cores <= MOST_CORES ? cores : null;
}
