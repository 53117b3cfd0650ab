import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { defaultGenerator, Generator, manualSeed, scope } from "../tensor/mod.ts";
import { eachDevice } from "../tests/devices.ts";
import { constant, fanInUniform, fans, normal, withoutInit, xavierUniform } from "./init.ts";
import { Conv2d, Embedding, Linear } from "./layers.ts";

async function moments(t: { data(): Promise<ArrayLike<number>> }) {
  const values = Array.from(await t.data());
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
  return { mean, std: Math.sqrt(variance), largest: Math.max(...values.map(Math.abs)) };
}

Deno.test("fans() counts the taps of a convolution", () => {
  assertEquals(fans([5, 3]), { fanIn: 3, fanOut: 5 });
  assertEquals(fans([5, 3, 2, 4]), { fanIn: 24, fanOut: 40 });
});

eachDevice("xavierUniform() fills ±sqrt(6 / (fanIn + fanOut)) evenly", async () => {
  using _ = scope();
  const bound = Math.sqrt(6 / (100 + 200));
  const found = await moments(xavierUniform([200, 100], { generator: new Generator(1) }));
  assert(found.largest <= bound && found.largest > 0.99 * bound);
  assertAlmostEquals(found.mean, 0, 0.005 * bound);
  assertAlmostEquals(found.std, bound / Math.sqrt(3), 0.01 * bound);
  const as = xavierUniform([4, 2, 5, 5], { generator: new Generator(1), as: [4, 50] });
  assert((await moments(as)).largest <= Math.sqrt(6 / 54));
});

eachDevice("fanInUniform() and normal() have the bounds and moments they say", async () => {
  using _ = scope();
  const uniform = await moments(fanInUniform([100, 100], 25, { generator: new Generator(2) }));
  assert(uniform.largest <= 0.2 && uniform.largest > 0.199);
  const gauss = await moments(normal([100, 100], 0.02, { generator: new Generator(3) }));
  assertAlmostEquals(gauss.mean, 0, 0.0006);
  assertAlmostEquals(gauss.std, 0.02, 0.0004);
});

eachDevice("layers start the same from the same seed", async () => {
  using _ = scope();
  const made = async () => {
    manualSeed(5);
    const layers = [new Linear(3, 4), new Conv2d(2, 3, 3), new Embedding(5, 2)];
    const found = layers.flatMap((layer) => layer.parameters());
    return await Promise.all(found.map((p) => p.data()));
  };
  assertEquals(await made(), await made());
  manualSeed(0);
});

eachDevice("withoutInit() draws no numbers, also after an error inside", async () => {
  using _ = scope();
  manualSeed(1);
  const layer = withoutInit(() => new Linear(3, 4));
  assertEquals(layer.weight.shape, [4, 3]);
  assertEquals(defaultGenerator().offset, 0);
  try {
    withoutInit(() => {
      throw new Error("inside");
    });
  } catch { /* expected */ }
  assertEquals(Array.from(await constant([2], 7).data()), [7, 7]);
  manualSeed(0);
});
