/** Tensors that are not there any more, on another device, or larger than memory: named errors. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import * as d from "../mod.ts";
import type { Tensor } from "../tensor/mod.ts";
import { f, generator, z } from "./bad_input.ts";
import { eachDevice } from "./devices.ts";

eachDevice("bad input: every op names a tensor that was freed", () => {
  for (const [name, { samples }] of d.ops()) {
    const sample = samples[0]!;
    for (const k of sample.inputs.keys()) {
      using _ = d.scope();
      const inputs = sample.inputs.map(({ shape, dtype }) =>
        d.ones(shape, { dtype: dtype ?? "f32" })
      );
      inputs[k]!.dispose();
      const shape = `[${sample.inputs[k]!.shape.join(", ")}]`;
      const error = assertThrows(() => sample.call(inputs), d.UseAfterFreeError, "", name) as Error;
      const pattern = /^\w+: a tensor of shape \[.*\] was used after it was freed/;
      assert(pattern.test(error.message) && error.message.includes(shape), `${name}: ${error}`);
    }
  }
});

eachDevice("bad input: every op refuses tensors of two devices", async (device) => {
  const reference = await d.init({ device: "reference" });
  d.setDevice(device);
  for (const [name, { samples }] of d.ops()) {
    const sample = samples[0]!;
    if (sample.inputs.length < 2) continue;
    for (const k of sample.inputs.keys()) {
      using _ = d.scope();
      const inputs = sample.inputs.map(({ shape, dtype }, i) =>
        d.ones(shape, { dtype: dtype ?? "f32", device: i === k ? reference : device })
      );
      assertThrows(
        () => sample.call(inputs),
        d.DeviceError,
        "expected tensors on one device but got",
        name,
      );
    }
  }
});

eachDevice("bad input: more memory than there is names the op and the bytes", () => {
  using _ = d.scope();
  const vast = d.expand(z(1, 1), [2 ** 20, 2 ** 20]);
  assertThrows(() => d.add(vast, 1), d.OutOfMemoryError, `add: expected`);
  assertThrows(() => d.add(vast, 1), d.OutOfMemoryError, `${2 ** 42}`);
  assertThrows(() => d.contiguous(vast), d.OutOfMemoryError, "contiguous: expected");
  assertThrows(() => d.randn([2 ** 40], { generator: generator() }), d.OutOfMemoryError, "randn: ");
  assertThrows(
    () => d.matmul(d.expand(z(1, 1), [2 ** 21, 1]), d.expand(z(1, 1), [1, 2 ** 21])),
    d.OutOfMemoryError,
    "matmul: ",
  );
  assertEquals(d.sum(z(2)).shape, []); // and the device works on
});

Deno.test("bad input: a scope left open, and a tensor kept by two scopes", async () => {
  await d.init({ device: "wasm" });
  const outer = d.scope("outer");
  const inner = d.scope("inner");
  const t = f(1);
  inner.keep(t);
  assertThrows(
    () => outer[Symbol.dispose](),
    d.ScopeError,
    "outer closed while scopes opened after",
  );
  assertEquals(t.disposed, true); // kept by the inner one, it belonged to the outer one
  inner[Symbol.dispose]();
  let kept: Tensor;
  {
    using a = d.scope();
    {
      using b = d.scope();
      kept = a.keep(b.keep(f(1)));
      b.keep(kept);
    }
    assertEquals(kept.scope, null);
  }
  assertEquals(kept.disposed, false);
  kept.dispose();
});
