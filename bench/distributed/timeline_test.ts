import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { countTimeline, spread, type Timeline } from "./timeline.ts";

const JOB = { model: "DiT-S/8", batch: 2, precision: "f32", checkpointing: false } as const;

const sum = (list: Timeline) => ({
  flops: list.reduce((all, { flops }) => all + flops, 0),
  elements: list.reduce((all, { elements }) => all + elements, 0),
});

Deno.test("a step of a DiT is counted up to each bucket of gradients", async () => {
  const plain = await countTimeline(JOB, 2 ** 20);
  const { flops, elements } = sum(plain);
  const d = 384;
  const linear = (from: number, to: number) => (from + 1) * to;
  // qkv, projection, MLP and modulation
  const block = linear(d, 3 * d) + linear(d, d) + linear(d, 4 * d) + linear(4 * d, d) +
    linear(d, 6 * d);
  const embedders = linear(4 * 64, d) + linear(256, d) + linear(d, d) + 1001 * d;
  const last = linear(d, 8 * 64) + linear(d, 2 * d);
  const parameters = 12 * block + embedders + last;
  assert(elements >= parameters && elements < 1.001 * parameters, `${elements} ${parameters}`);
  assertEquals(plain.length, Math.ceil(elements / 2 ** 18));
  // The forward pass, a third of all, comes before the first bucket; the others follow evenly.
  const first = plain[0]!.flops / flops;
  assert(first > 0.3 && first < 0.4, `${first}`);
  const half = sum(plain.slice(0, plain.length / 2)).flops / flops;
  assert(half > 0.6 && half < 0.72, `${half}`);
});

Deno.test("checkpointing computes blocks again before their buckets are full", async () => {
  const job = { ...JOB, checkpointing: true };
  const [plain, again] = [await countTimeline(JOB, 2 ** 20), await countTimeline(job, 2 ** 20)];
  assertEquals(again.map(({ elements }) => elements), plain.map(({ elements }) => elements));
  const more = sum(again).flops / sum(plain).flops;
  assert(more > 1.25 && more < 1.34, `${more}`);
});

Deno.test("a measured step is spread over its operations", () => {
  const timeline = [{ flops: 250, elements: 10 }, { flops: 50, elements: 20 }];
  const { passes, optimizer } = spread(timeline, { passes: 3, optimizer: 0.5 }, 2);
  assertAlmostEquals(passes[0]!.seconds, 2.5);
  assertAlmostEquals(passes[1]!.seconds, 0.5);
  assertEquals(passes.map(({ bytes }) => bytes), [20, 40]);
  assertEquals(optimizer, 0.5);
});
