/** How many cores a GPU of unknown name has: as many as take its work at once. */
import type { WebGpuBackend } from "../backend.ts";
import { slotsOfCore } from "../kernels/product_plan.ts";
import { BUSY_TILE, BusyProducts } from "./busy.ts";
import type { TuneClock } from "./clock.ts";

/** Workgroups that keep any GPU busy. */
const MANY = 1024;
/** Depths of products, whose difference is free of what any launch costs. */
const DEPTHS = [1024, 3072] as const;
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
  using busy = new BusyProducts(backend, MANY, DEPTHS[1]);
  const launches = [1, MANY].flatMap((groups) => DEPTHS.map((k) => busy.product(groups, k)));
  const [one, oneDeep, many, manyDeep] = await clock.time(launches) as [
    number,
    number,
    number,
    number,
  ];
  const slots = MANY * (oneDeep - one) / (manyDeep - many);
  const cores = Math.round(slots / slotsOfCore(BUSY_TILE));
  return manyDeep > many && cores >= 1 && cores <= MOST_CORES ? cores : null;
}
