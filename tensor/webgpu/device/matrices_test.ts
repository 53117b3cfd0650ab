import { assertEquals } from "@std/assert";
import { MATRIX_FEATURES, matrixUnit } from "./matrices.ts";

const CONFIGS = [
  { componentType: "f16", resultComponentType: "f16", M: 16, N: 16, K: 16 },
  { componentType: "f16", resultComponentType: "f32", M: 16, N: 8, K: 8 },
  { componentType: "f16", resultComponentType: "f32", M: 16, N: 16, K: 16 },
  { componentType: "i8", resultComponentType: "i32", M: 16, N: 16, K: 32 },
];

function adapter(info: Record<string, unknown>, features = MATRIX_FEATURES): GPUAdapter {
  return { info, features: new Set(features) } as unknown as GPUAdapter;
}

Deno.test("matrixUnit() takes the largest matrices of f16 that are summed up in f32", () => {
  const sizes = { subgroupMinSize: 32, subgroupMaxSize: 32 };
  assertEquals(matrixUnit(adapter({ ...sizes, subgroupMatrixConfigs: CONFIGS })), {
    m: 16,
    n: 16,
    k: 16,
    subgroup: 32,
  });
  assertEquals(matrixUnit(adapter({ ...sizes, subgroupMatrixConfigs: CONFIGS.slice(0, 1) })), null);
  assertEquals(matrixUnit(adapter(sizes)), null);
});

Deno.test("matrixUnit() takes none where a feature or the size of subgroups is not certain", () => {
  const info = { subgroupMinSize: 32, subgroupMaxSize: 32, subgroupMatrixConfigs: CONFIGS };
  assertEquals(matrixUnit(adapter(info, MATRIX_FEATURES.slice(1))), null);
  assertEquals(matrixUnit(adapter({ ...info, subgroupMinSize: 8 })), null);
});
