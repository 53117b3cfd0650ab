import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { countTimeline, spread } from "./timeline.ts";

Deno.test("a step of a DiT is counted up to each bucket of gradients", async () => {
  const job = { model: "DiT-S/8", batch: 2, checkpointing: false, bucketBytes: 2 ** 20 };
  const plain = await countTimeline(job);
  const again = await countTimeline({ ...job, checkpointing: true });
  const sum = (list: readonly { flops: number; elements: number }[]) => ({
    flops: list.reduce((all, { flops }) => all + flops, 0),
    elements: list.reduce((all, { elements }) => all + elements, 0),
  });
  const { flops, elements } = sum(plain.backward);
  const d = 384;
  const linear = (from: number, to: number) => (from + 1) * to;
  // qkv, projection, MLP and modulation
  const block = linear(d, 3 * d) + linear(d, d) + linear(d, 4 * d) + linear(4 * d, d) +
    linear(d, 6 * d);
  const embedders = linear(4 * 64, d) + linear(256, d) + linear(d, d) + 1001 * d;
  const last = linear(d, 8 * 64) + linear(d, 2 * d);
  const parameters = 12 * block + embedders + last;
  assert(elements >= parameters && elements < 1.001 * parameters, `${elements} ${parameters}`);
  assert(flops > 1.9 * plain.forward && flops < 2.2 * plain.forward, `${flops} ${plain.forward}`);
  // Checkpointing computes every block once more, and gives the same gradients.
  const more = sum(again.backward).flops - flops;
  assert(more > 0.85 * plain.forward && more < plain.forward, `${more} ${plain.forward}`);
  assertEquals(sum(again.backward).elements, elements);
  // One bucket after the other, most of them long before the end.
  assertEquals(plain.backward.length, Math.ceil(elements / 2 ** 18));
  const half = plain.backward.slice(0, plain.backward.length / 2);
  assert(sum(half).flops > 0.4 * flops && sum(half).flops < 0.6 * flops, `${sum(half).flops}`);
});

Deno.test("a measured step is spread over its operations", () => {
  const timeline = {
    forward: 100,
    backward: [{ flops: 150, elements: 10 }, { flops: 50, elements: 20 }],
  };
  const { forward, backward, optimizer } = spread(timeline, { passes: 3, optimizer: 0.5 }, 2);
  assertAlmostEquals(forward, 1);
  assertEquals(backward, [{ seconds: 1.5, bytes: 20 }, { seconds: 0.5, bytes: 40 }]);
  assertEquals(optimizer, 0.5);
});
