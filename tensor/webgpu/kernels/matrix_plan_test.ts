import { assert, assertEquals } from "@std/assert";
import { matrixSplits, matrixTile, matrixTileBytes } from "./matrix_plan.ts";

const NVIDIA = { m: 16, n: 16, k: 16, subgroup: 32 };
const LARGE = { maxComputeWorkgroupStorageSize: 49152, maxComputeInvocationsPerWorkgroup: 1024 };
const SMALL = { maxComputeWorkgroupStorageSize: 16384, maxComputeInvocationsPerWorkgroup: 256 };

Deno.test("matrixTile() is that of the measurements, less deep where there is less memory", () => {
  const tile = matrixTile(NVIDIA, LARGE, { writtenOut: true })!;
  assertEquals([tile.rows, tile.columns, tile.depth, tile.threads], [128, 128, 32, 128]);
  const shallow = matrixTile(NVIDIA, SMALL, { writtenOut: true })!;
  assertEquals([shallow.rows, shallow.columns, shallow.depth], [128, 128, 16]);
  for (const [each, limits] of [[tile, LARGE], [shallow, SMALL]] as const) {
    assert(matrixTileBytes(each) <= limits.maxComputeWorkgroupStorageSize);
  }
});

Deno.test("matrixTile() fits matrices of Apple's size, and small ones for software", () => {
  const apple = { m: 8, n: 8, k: 8, subgroup: 32 };
  const tile = matrixTile(apple, LARGE, { writtenOut: true })!;
  assertEquals([tile.rows, tile.columns, tile.depth, tile.threads], [64, 64, 32, 128]);
  const mesa = matrixTile({ ...apple, subgroup: 8 }, LARGE, { writtenOut: false })!;
  assertEquals([mesa.rows, mesa.columns, mesa.depth, mesa.threads], [32, 32, 16, 32]);
});

Deno.test("matrixSplits() gives all cores something to do, and refuses mostly empty tiles", () => {
  const tile = matrixTile(NVIDIA, LARGE, { writtenOut: true })!;
  const splits = (m: number, n: number, k: number) =>
    matrixSplits({ batches: 1, m, n, k }, tile, { cores: 132 });
  assertEquals(splits(8192, 4608, 1152), 1);
  assert(splits(384, 384, 8192)! > 4); // the gradient of weights: nine tiles
  assertEquals(splits(32, 6912, 1152), null); // the conditioning of a batch
  assertEquals(splits(8192, 32, 384), null);
});
