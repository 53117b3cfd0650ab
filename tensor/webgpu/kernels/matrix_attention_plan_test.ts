import { assert, assertEquals } from "@std/assert";
import {
  type AttentionPart,
  attentionTile,
  attentionTileBytes,
  tileRows,
} from "./matrix_attention_plan.ts";
import { lanesOf } from "./matrix_attention_tile.ts";

const NVIDIA = { m: 16, n: 16, k: 16, subgroup: 32 };
const APPLE = { m: 8, n: 8, k: 8, subgroup: 32 };
const LARGE = { maxComputeWorkgroupStorageSize: 49152, maxComputeInvocationsPerWorkgroup: 1024 };
const SMALL = { maxComputeWorkgroupStorageSize: 16384, maxComputeInvocationsPerWorkgroup: 256 };
const PARTS: readonly AttentionPart[] = ["forward", "queries", "keys"];

Deno.test("attentionTile() fits heads of 64 and 72, filled up to whole matrices", () => {
  for (const [depth, width] of [[64, 64], [72, 80]] as const) {
    const tiles = PARTS.map((part) =>
      attentionTile(NVIDIA, depth, part, LARGE, { writtenOut: true })!
    );
    assertEquals(tiles.map(({ columns }) => columns), [64, 64, 32]);
    for (const tile of tiles) {
      assertEquals([tile.width, tileRows(tile), lanesOf(tile)], [width, 64, 2]);
      assert(attentionTileBytes(tile) <= LARGE.maxComputeWorkgroupStorageSize);
    }
  }
});

Deno.test("attentionTile() is smaller where there is less memory, and on other matrices", () => {
  for (const part of PARTS) {
    const small = attentionTile(NVIDIA, 64, part, SMALL, { writtenOut: true })!;
    assert(attentionTileBytes(small) <= SMALL.maxComputeWorkgroupStorageSize, part);
    const apple = attentionTile(APPLE, 72, part, LARGE, { writtenOut: true })!;
    assertEquals([apple.down, apple.width, lanesOf(apple)], [2, 72, 2]);
  }
  const mesa = attentionTile({ ...APPLE, subgroup: 8 }, 24, "keys", LARGE, { writtenOut: false })!;
  assertEquals([mesa.columns, tileRows(mesa), mesa.width, lanesOf(mesa)], [16, 16, 24, 1]);
});

Deno.test("attentionTile() leaves heads aside that are too large, or are not read by eights", () => {
  for (const depth of [512, 60]) {
    assertEquals(attentionTile(NVIDIA, depth, "forward", LARGE, { writtenOut: true }), null);
  }
});
