import { assertEquals } from "@std/assert";
import { scope, type Tensor, tensor } from "../tensor/mod.ts";
import { eachDevice } from "../tests/devices.ts";
import { checkpoint, gradients, mul, Parameter, sum } from "./mod.ts";

eachDevice("gradients() reaches parameters inside a checkpointed segment", async () => {
  using w = new Parameter(tensor([2, 3]));
  using v = new Parameter(tensor([5, 7]));
  const segment = (x: Tensor) => mul(mul(x!, w), mul(w, v)); // x w^2 v
  const s = scope();
  const x = tensor([1, 10]);
  const twice = sum(mul(checkpoint((x) => segment(x!), checkpoint((x) => segment(x!), x)), w));
  const reads = gradients(twice, [w]).map((g) => g.data()); // x w^5 v^2
  s[Symbol.dispose]();
  assertEquals(await reads[0], Float32Array.of(5 * 16 * 25, 10 * 5 * 81 * 49));
  assertEquals([w.grad, v.grad], [null, null]);
});
