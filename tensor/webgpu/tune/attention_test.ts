import { assert, assertEquals } from "@std/assert";
import { everyWebGpu } from "../../../tests/devices.ts";
import { gpuTest } from "../device/device_test_util.ts";
import { ATTENTION_CODES } from "../kernels/attention_plan.ts";
import { ATTENTION_KERNELS, AttentionArrays } from "./attention.ts";

/** Sizes that fill no tile. */
const SIZES = [
  { batch: 2, heads: 2, tokens: 67, depth: 12 },
  ...(everyWebGpu
    ? [
      { batch: 1, heads: 3, tokens: 133, depth: 72 },
      { batch: 1, heads: 1, tokens: 31, depth: 96 },
    ]
    : []),
];

gpuTest(
  "attention has the same bits every time, however its kernels are written",
  async (backend) => {
    for (const size of SIZES) {
      using arrays = new AttentionArrays(backend, { dtype: "f32", ...size });
      for (const kernel of everyWebGpu ? ATTENTION_KERNELS : ["forward"] as const) {
        for (const code of everyWebGpu ? ATTENTION_CODES : ATTENTION_CODES.slice(0, 2)) {
          const want = await arrays.compute(kernel, code);
          for (const [, result] of want) {
            assert(
              result.every(Number.isFinite),
              "what was there is left",
            );
          }
          // Threads that do not wait for each other need not meet every time.
          for (let i = 0; i < 3; i++) assertEquals(await arrays.compute(kernel, code), want);
        }
        if (kernel === "forward") {
          for (const code of everyWebGpu ? ATTENTION_CODES : ATTENTION_CODES.slice(0, 1)) {
            const kept = await arrays.compute(kernel, { ...code, kept: true });
            assertEquals(kept, await arrays.compute(kernel, code));
          }
        }
        for (const { name, isRight } of kernel === "forward" ? arrays.sharing(arrays.usual) : []) {
          assert(await isRight(), `gradients in ${name}`);
        }
        for (const { name, isRight } of arrays.variants(kernel).slice(0, everyWebGpu ? 9 : 2)) {
          assert(await isRight(), `${kernel} by ${name}`);
        }
      }
    }
  },
);
