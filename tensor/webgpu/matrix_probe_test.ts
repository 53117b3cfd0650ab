import { assertEquals, assertStringIncludes } from "@std/assert";
import { createWebGpuBackend } from "./backend.ts";
import { CountingGpu } from "./counting_gpu_test_util.ts";
import { MATRIX_FEATURES } from "./device/matrices.ts";

Deno.test("matrices that give wrong products are left aside, with a line that says so", async () => {
  const gpu = new CountingGpu(); // whose results are all 0
  for (const feature of MATRIX_FEATURES) (gpu.device.features as Set<string>).add(feature);
  const adapter = await gpu.requestAdapter();
  const matrix = { componentType: "f16", resultComponentType: "f32", M: 16, N: 16, K: 16 };
  Object.assign(adapter.info, {
    subgroupMinSize: 32,
    subgroupMaxSize: 32,
    subgroupMatrixConfigs: [matrix],
  });
  const said: string[] = [];
  const { warn } = console;
  console.warn = (text: string) => said.push(text);
  try {
    const backend = await createWebGpuBackend({}, gpu);
    assertEquals(backend.runtime.matrices, null);
    assertEquals(backend.description.includes("matrix units"), false);
    await backend.dispose();
  } finally {
    console.warn = warn;
  }
  assertEquals(said.length, 1);
  assertStringIncludes(said[0]!, "are not used: expected x wT with errors of at most");
});
