import { assert, assertEquals } from "@std/assert";
import { blocksFor } from "./gemm.ts";
import { TILES } from "./gemm_kernel.ts";
import { pieceSteps } from "./product_plan.ts";

const SIZES = [1, 5, 6, 7, 64, 100, 384, 1000, 4096];

Deno.test("pieceSteps() gives pieces of whole tiles that no thread has to wait for", () => {
  for (const m of SIZES) {
    for (const n of SIZES) {
      for (const threads of [1, 2, 3, 8]) {
        const { stepM, stepN } = pieceSteps(TILES.fast, threads, 1, { m, n });
        assert(stepM === m || stepM % TILES.fast.rows === 0);
        assert(stepN === n || stepN % TILES.fast.cols === 0);
        assert(Math.ceil(m / stepM) * Math.ceil(n / stepN) <= threads);
      }
    }
  }
});

Deno.test("pieceSteps() leaves products whole where the batch keeps all threads busy", () => {
  const size = { m: 100, n: 100 };
  assertEquals(pieceSteps(TILES.fast, 4, 8, size), { stepM: 100, stepN: 100 });
});

Deno.test("pieceSteps() cuts only columns where A is packed beforehand", () => {
  const size = { m: 960, n: 960, packedA: true };
  assertEquals(pieceSteps(TILES.fast, 4, 1, size), { stepM: 960, stepN: 240 });
  const unpacked = { ...size, packedA: false };
  assertEquals(pieceSteps(TILES.fast, 4, 1, unpacked), { stepM: 480, stepN: 480 });
});

Deno.test("blocksFor() cuts k alike for both tiles and every piece: sums keep their order", () => {
  for (const k of SIZES) {
    const { kc } = blocksFor(TILES.safe, 100, 100, k, false);
    for (const m of SIZES) {
      for (const wholeK of [false, true]) {
        const blocks = blocksFor(TILES.fast, m, 2 * m, k, wholeK);
        assertEquals(blocks.kc, kc);
        assert(blocks.ks % kc === 0 || blocks.ks >= k);
      }
    }
  }
});
