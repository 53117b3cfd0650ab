import { assert, assertEquals } from "@std/assert";
import { gpuTest } from "../device/device_test_util.ts";
import { codeOf } from "../kernels/product_plan.ts";
import { LinearArrays, LinearProduct } from "./products.ts";
import { timeInTurns } from "./turns.ts";

gpuTest("launches that are timed share none with each other", async (backend) => {
  const { runtime } = backend;
  using arrays = new LinearArrays(backend, { tokens: 512, dtype: "f32", layers: [[64, 64]] });
  const product = new LinearProduct(arrays, "gT x", 64, 64);
  const code = codeOf("large", runtime.traits);
  const launches = [1, 2].map((splits) => (op: string) =>
    product.run({ tile: "large", splits, code }, op)
  );
  const shared: string[] = [];
  runtime.onDispatch = ({ key }) => key.includes("+") && shared.push(key);
  for (const launch of launches) launch("test");
  runtime.settle();
  assertEquals(shared.length, 1, "expected that these two would share a launch");
  const times = await timeInTurns(backend, launches, 3);
  runtime.onDispatch = null;
  assertEquals(shared.length, 1);
  assert(times.every((ms) => ms > 0), `${times}`);
});
