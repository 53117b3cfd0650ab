import { assertEquals } from "@std/assert";
import type { KernelName } from "../../kernels.ts";
import { conformanceCases, runConformance } from "../../conformance/suite.ts";
import { gpuTest } from "./device_test_util.ts";

/** Cases whose arrays are wider than 2 KiB, while a sample, head or few rows of them are not. */
const CASES: readonly (readonly [KernelName, string])[] = [
  ["matmul", "two batch dimensions"],
  ["matmul", "bias, activation and pre in a batch"],
  ["matmul", "65x128 . 128x3"],
  ["softmax", "100 rows of 257"],
  ["softmaxGrad", "100 rows of 257"],
  ["layerNorm", "many tokens, [2, 130, 64], modulate"],
  ["layerNormGrad", "many tokens, [2, 130, 64], modulate"],
  ["layerNormGrad", "many tokens, [2, 130, 64], weight"],
  ["groupNorm", "[3, 12, 17], 4 groups, silu"],
  ["groupNormGrad", "[3, 12, 17], 4 groups, silu"],
  ["conv2d", "3x3 padded"],
  ["conv2dGradWeight", "3x3 padded"],
  ["attention", "odd, [2, 3, 17, 16]"],
  ["attentionGrad", "odd, [2, 3, 17, 16]"],
];

gpuTest("kernels work through arrays too wide to bind in parts", async (b) => {
  for (const [kernel, name] of CASES) {
    const found = conformanceCases({ kernel }).filter((test) => test.name === name);
    assertEquals(found.length, 1, `${kernel} ${name}`);
    await runConformance(b, found[0]!);
  }
}, { maxBindingBytes: 2048 });
