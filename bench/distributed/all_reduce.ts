/** How long all-reduces take, alone and while a rank computes: what every rank runs. */
import process from "node:process";
import { type Device, matmul, randn, scope } from "@dit/core";
import type { World } from "../../cli/distributed/world.ts";

/** What to measure. */
export interface AllReduceJob {
  readonly what: "all-reduce";
  /** Sizes of arrays of f32, in bytes. */
  readonly sizes: readonly number[];
  /** About how long each size is measured, in seconds. */
  readonly seconds: number;
}

/** What was found of one size: seconds, medians of the slowest rank. */
export interface AllReduceResult {
  readonly bytes: number;
  /** One all-reduce, with nothing beside it. */
  readonly alone: number;
  /** One of several that follow each other, as buckets do. */
  readonly inARow: number;
  /** Cores that a rank keeps busy meanwhile: processor seconds a second. */
  readonly cores: number;
  /** As many all-reduces as take about as long as some products, the products, and both at once. */
  readonly several: number;
  readonly products: number;
  readonly together: number;
}

/** The transport, and its figures. */
export interface AllReduceResults {
  readonly transport: string;
  readonly results: readonly AllReduceResult[];
}

/** Measures on every rank; all return the same. */
export async function measureAllReduce(
  world: World,
  device: Device,
  { sizes, seconds }: AllReduceJob,
): Promise<AllReduceResults> {
  const results: AllReduceResult[] = [];
  for (const bytes of sizes) results.push(await measureSize(world, device, bytes, seconds));
  return { transport: world.transport ?? "none", results };
}

/** What all-reduces go through, in bytes: as much as the gradients of a DiT-S. */
const MEMORY = 2 ** 27;

/** For how long products are computed beside all-reduces. */
const BESIDE_SECONDS = 0.1;

async function measureSize(
  world: World,
  device: Device,
  bytes: number,
  seconds: number,
): Promise<AllReduceResult> {
  using _ = scope("bench");
  // each time other numbers than the last, as buckets are, which no cache holds
  const places = Math.max(1, Math.floor(MEMORY / bytes));
  const memory = new SharedArrayBuffer(places * bytes); // as the memory of the kernels is
  let place = 0;
  const reduce = () => {
    place = (place + 1) % places;
    return world.allReduce(new Float32Array(memory, place * bytes, bytes / 4));
  };
  const [a, b] = [randn([256, 384]), randn([384, 1536])];
  const compute = (times: number) => {
    for (let i = 0; i < times; i++) {
      using _ = scope("product");
      matmul(a, b);
    }
  };
  for (let i = 0; i < 3; i++) await reduce(); // the first ones make what is kept
  const once = await timed(world, reduce);
  const product = await timed(world, () => compute(10)) / 10;
  const alike = Math.max(2, Math.ceil(Math.min(seconds, BESIDE_SECONDS) / once));
  const products = Math.max(2, Math.ceil(alike * once / product));
  const many = (count: number) => Promise.all(Array.from({ length: count }, reduce));
  const found: Record<"alone" | "several" | "products" | "together", number[]> = {
    alone: [],
    several: [],
    products: [],
    together: [],
  };
  const rounds = Math.max(3, Math.min(100, Math.ceil(seconds / (4 * alike * once))));
  let busy = 0;
  for (let round = 0; round < rounds; round++) {
    found.alone.push(await timed(world, reduce));
    const before = process.cpuUsage();
    found.several.push(await timed(world, () => many(alike)));
    const { user, system } = process.cpuUsage(before);
    busy += (user + system) / 1e6;
    found.products.push(await timed(world, () => compute(products)));
    found.together.push(
      await timed(world, async () => {
        const reduced = many(alike);
        compute(products);
        await reduced;
      }),
    );
  }
  await device.backend.sync();
  const of = async (name: keyof typeof found) => await slowest(world, found[name]);
  const several = await of("several");
  return {
    bytes,
    alone: await of("alone"),
    inARow: several / alike,
    cores: await meanOf(world, busy) / found.several.reduce((sum, each) => sum + each, 0),
    several,
    products: await of("products"),
    together: await of("together"),
  };
}

/** Seconds of something that every rank begins at the same moment. */
async function timed(world: World, work: () => void | Promise<unknown>): Promise<number> {
  await world.barrier();
  const start = performance.now();
  await work();
  const seconds = Float64Array.of((performance.now() - start) / 1000);
  await world.allReduce(seconds, "max"); // so that all agree on how often to repeat it
  return seconds[0]!;
}

/** The mean of all ranks. */
async function meanOf(world: World, value: number): Promise<number> {
  const sum = Float64Array.of(value);
  await world.allReduce(sum);
  return sum[0]! / world.size;
}

/** The median, over repetitions, of the slowest rank's times. */
async function slowest(world: World, samples: readonly number[]): Promise<number> {
  const all = Float64Array.from(samples);
  await world.allReduce(all, "max");
  return all.sort()[all.length >> 1]!;
}
