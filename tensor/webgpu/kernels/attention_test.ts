import { assert, assertEquals } from "@std/assert";
import { conformanceCases, runConformance } from "../../conformance/suite.ts";
import { conformanceCase, normal } from "../../conformance/fixture.ts";
import { ATTENTION_THREADS, planHead, SCORES } from "./attention_tile.ts";
import { gpuTest } from "../device/device_test_util.ts";
import { pitchOf } from "../shader/tile.ts";

Deno.test("attention keeps within WebGPU's default limits", () => {
  const staged = SCORES.depth * (pitchOf(SCORES.rows) + pitchOf(SCORES.columns));
  assert((staged + ATTENTION_THREADS) * 16 <= 16384);
  assert(ATTENTION_THREADS <= 256);
});

Deno.test("planHead() covers heads of any depth", () => {
  for (let depth = 1; depth <= 512; depth++) {
    for (const most of [2, 4]) {
      const { slice, chunks, parts } = planHead(depth, most);
      assert(slice % 4 === 0 && slice <= 32 && chunks <= most);
      assert(chunks * 32 * parts >= depth);
    }
  }
  assertEquals(planHead(64, 4), { depth: 64, slice: 32, chunks: 2, parts: 1 });
  assertEquals(planHead(72, 4), { depth: 72, slice: 24, chunks: 3, parts: 1 });
  assertEquals(planHead(512, 4), { depth: 512, slice: 32, chunks: 4, parts: 4 });
});

const LARGER = ["wide heads", "many tokens"];

gpuTest("attention agrees with the reference over many tiles of queries and keys", async (b) => {
  const cases = [
    ...conformanceCases({ kernel: "attention" }),
    ...conformanceCases({ kernel: "attentionGrad" }),
  ].filter(({ name, half }) => !half && LARGER.some((l) => name.startsWith(l)));
  assertEquals(cases.length, 4);
  for (const test of cases) await runConformance(b, test);
});

gpuTest("attention over a head of 512 with other keys than queries agrees", (b) =>
  runConformance(
    b,
    conformanceCase("attention", "the head of a VAE", { tolerance: { scaled: 2e-5 } }, (f) => ({
      q: f.input([1, 1, 67, 512], normal()),
      k: f.input([1, 1, 41, 512], normal()),
      v: f.input([1, 1, 41, 512], normal()),
      scale: 512 ** -0.5,
      out: f.output("out", [1, 1, 67, 512]),
      stats: f.output("stats", [1, 1, 67, 2]),
    })),
  ));
