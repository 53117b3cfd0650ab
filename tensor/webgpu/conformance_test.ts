import { type ConformanceCase, conformanceCases, runConformance } from "../conformance/suite.ts";
import { setDebug } from "../debug.ts";
import type { WebGpuBackend } from "./backend.ts";
import { gpuTest } from "./device/device_test_util.ts";

setDebug(true); // shaders that are found by a key are compared with what would be compiled

/** A software adapter takes seconds for the largest cases. */
const MAX_COST = 1e5;
/** Read-backs take 12 ms each, most of it sleep, so cases share it. */
const AT_ONCE = 64;

async function conform(
  backend: WebGpuBackend,
  concerned: (test: ConformanceCase) => boolean,
): Promise<void> {
  const { halfKernels } = backend;
  const cases = conformanceCases({ maxCost: MAX_COST, halfKernels }).filter(concerned);
  for (let i = 0; i < cases.length; i += AT_ONCE) {
    await Promise.all(cases.slice(i, i + AT_ONCE).map((test) => runConformance(backend, test)));
  }
}

gpuTest("every kernel agrees with the reference", (b) => conform(b, () => true));
// The other kernels are the same to the letter.
gpuTest(
  "kernels of f16 agree with the reference where the GPU has no f16",
  (b) => conform(b, (test) => test.half),
  { half: "packed" },
);
