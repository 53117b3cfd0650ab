import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { backward, mul, Parameter, sum } from "../autograd/mod.ts";
import { init, scope, tensor } from "../tensor/mod.ts";
import { eachDevice } from "../tests/devices.ts";
import { AdamW } from "./adamw.ts";
import { GradientBuckets } from "./buckets.ts";

/** Parameters of the sizes, each of them multiplied by its number from 1. */
function parameters(...sizes: number[]): Parameter[] {
  return sizes.map((size) => new Parameter(tensor(new Float32Array(size).fill(1))));
}

eachDevice(
  "gradients are reduced in place, in pieces, the last ones while others are computed",
  async () => {
    const all = parameters(3, 100, 64, 5);
    const [first, large, middle, last] = all as [Parameter, Parameter, Parameter, Parameter];
    using optimizer = new AdamW(all, { lr: 1 });
    const begun: number[] = [];
    const before: boolean[] = [];
    const buckets = new GradientBuckets(optimizer, async (values) => {
      begun.push(values.length);
      await Promise.resolve();
      for (let i = 0; i < values.length; i++) values[i]! *= 2;
    }, { bytes: 4 * 80 });
    // 64 + 128 + 64 + 64 elements: a piece of the first and the large one, ...
    assertEquals(buckets.length, 4);
    for (let step = 0; step < 2; step++) {
      using _ = scope();
      optimizer.zeroGrad();
      const head = mul(sum(mul(first, 2)), sum(large)); // 600
      const loss = mul(head, mul(sum(mul(middle, 3)), sum(mul(last, 4)))); // 600 * 192 * 20
      const onGradient = buckets.begin();
      backward(loss, undefined, {
        onGradient: (p) => {
          before.push(large.grad === null);
          onGradient(p);
        },
      });
      await buckets.finish();
      assertEquals(await last.grad!.data(), new Float32Array(5).fill(2 * 600 * 192 * 4));
      assertEquals(await middle.grad!.data(), new Float32Array(64).fill(2 * 600 * 20 * 3));
      assertEquals(await large.grad!.data(), new Float32Array(100).fill(2 * 6 * 192 * 20));
      assertEquals(await first.grad!.data(), new Float32Array(3).fill(2 * 2 * 100 * 192 * 20));
    }
    assertEquals(begun, [80, 80, 80, 80, 80, 80, 80, 80]);
    assertEquals(before.slice(0, 2), [true, true]);
    for (const p of all) p.dispose();
  },
);

eachDevice("buckets begin in one order, and hold zeros where backward gave nothing", async () => {
  const [a, b, c] = parameters(64, 64, 64) as [Parameter, Parameter, Parameter];
  using optimizer = new AdamW([a, b, c], { lr: 1 });
  const seen: number[] = [];
  const buckets = new GradientBuckets(optimizer, (values) => {
    seen.push(values[0]!);
    return Promise.resolve();
  }, { bytes: 256 });
  using _ = scope();
  backward(sum(mul(b, 5)));
  optimizer.zeroGrad();
  const onGradient = buckets.begin();
  backward(sum(mul(a, 3)), undefined, { onGradient });
  assertEquals(seen, [], "the last bucket goes first");
  await buckets.finish();
  assertEquals(seen, [0, 0, 3]);
  for (const p of [a, b, c]) p.dispose();
});

Deno.test("a reduction that fails is reported once all have begun", async () => {
  await init({ device: "wasm" });
  const [p] = parameters(4) as [Parameter];
  using optimizer = new AdamW([p]);
  const buckets = new GradientBuckets(optimizer, () => Promise.reject(new Error("no link")));
  {
    using _ = scope();
    backward(sum(p), undefined, { onGradient: buckets.begin() });
  }
  await new Promise((resolve) => setTimeout(resolve, 0));
  await assertRejects(() => buckets.finish(), Error, "no link");
  const none = () => new GradientBuckets(optimizer, () => Promise.resolve(), { bytes: 3 });
  assertThrows(none, RangeError, "expected 4 bytes or more but got 3");
  p.dispose();
});
