import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Dataset, ImageArray } from "./dataset.ts";
import { Loader } from "./loader.ts";
import { BatchSampler, type SamplerPosition } from "./sampler.ts";

const dataset = new ImageArray({
  pixels: Uint8Array.from({ length: 10 * 2 }, (_, i) => 12 * i),
  labels: Int32Array.from({ length: 10 }, (_, i) => i),
  classNames: [..."0123456789"],
  channels: 1,
  height: 1,
  width: 2,
});

const sampler = (position?: SamplerPosition) =>
  new BatchSampler({ size: 10, batchSize: 3, seed: 1, ...(position && { position }) });

/** `dataset`, whose reads take the longer the earlier they start, and fail at label `bad`. */
function slow(bad?: number): Dataset & { reads: number } {
  return {
    ...dataset,
    reads: 0,
    async read(indices, options) {
      const delay = Math.max(0, 20 - 4 * this.reads++);
      await new Promise((resolve) => setTimeout(resolve, delay));
      if (bad !== undefined && indices.includes(bad)) throw new Error("it broke");
      return await dataset.read(indices, options);
    },
  };
}

Deno.test("a loader hands out the sampler's batches in order, whichever is read first", async () => {
  await using loader = new Loader(slow(), sampler(), { prefetch: 3 });
  const plans = sampler();
  for (let i = 0; i < 7; i++) {
    const plan = plans.next();
    const { images, shape, labels, ...rest } = await loader.next();
    assertEquals(rest, plan);
    assertEquals({ images, shape, labels }, await dataset.read(plan.indices, plan));
  }
  assert(loader.waitSeconds > 0);
});

Deno.test("a loader reads ahead, but no further than `prefetch`", async () => {
  const source = slow();
  await using loader = new Loader(source, sampler(), { prefetch: 2 });
  await new Promise((resolve) => setTimeout(resolve, 50));
  assertEquals(source.reads, 2);
  await loader.next();
  await new Promise((resolve) => setTimeout(resolve, 50));
  assertEquals(source.reads, 3);
});

Deno.test("a loader's position counts what was handed out, not what was read ahead", async () => {
  await using loader = new Loader(dataset, sampler());
  assertEquals(loader.position, { epoch: 0, step: 0, size: 10 });
  for (let i = 0; i < 4; i++) await loader.next();
  assertEquals(loader.position, { epoch: 1, step: 1, size: 10 });
  await using resumed = new Loader(dataset, sampler(loader.position));
  assertEquals(await resumed.next(), await loader.next());
});

Deno.test("a loader throws what reading threw, at its turn, and continues", async () => {
  const order = sampler();
  const bad = [order.next(), order.next()][1]!.indices[0]!;
  await using loader = new Loader(slow(bad), sampler(), { prefetch: 1 });
  await loader.next();
  await assertRejects(() => loader.next(), Error, "it broke");
  assertEquals((await loader.next()).step, 2);
  await loader.close();
  await assertRejects(() => loader.next(), Error, "after close()");
});
