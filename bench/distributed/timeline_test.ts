import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { countTimeline, spread } from "./timeline.ts";

Deno.test("gradients of a DiT are counted in the order in which backward completes them", async () => {
  const job = { model: "DiT-S/8", batch: 2, checkpointing: false };
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
  assertEquals(elements, 12 * block + embedders + last);
  assert(flops > 1.9 * plain.forward && flops < 2.2 * plain.forward, `${flops} ${plain.forward}`);
  // Checkpointing computes every block once more, and gives the same gradients.
  const more = sum(again.backward).flops - flops;
  assert(more > 0.85 * plain.forward && more < plain.forward, `${more} ${plain.forward}`);
  assertEquals(sum(again.backward).elements, elements);
  // The last layer comes first: its bias or its weight.
  assert([512, 512 * d].includes(plain.backward[0]!.elements), `${plain.backward[0]!.elements}`);
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
