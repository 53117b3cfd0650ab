import { conformanceCases, runConformance } from "../conformance.ts";
import { gpuTest } from "./device_test_util.ts";
import type { WebGpuBackend } from "./backend.ts";
import { KERNELS } from "./kernels.ts";

/** A software adapter takes seconds for the largest cases. */
const MAX_COST = 3e5;
/** Read-backs take 12 ms each, most of it sleep, so cases share it. */
const AT_ONCE = 64;

async function conform(backend: WebGpuBackend): Promise<void> {
  const cases = conformanceCases({ maxCost: MAX_COST, halfKernels: backend.halfKernels })
    .filter(({ kernel }) => kernel in KERNELS);
  for (let i = 0; i < cases.length; i += AT_ONCE) {
    await Promise.all(cases.slice(i, i + AT_ONCE).map((test) => runConformance(backend, test)));
  }
}

gpuTest("every kernel agrees with the reference, f16 read natively", conform, { half: "native" });
gpuTest("every kernel agrees with the reference, f16 unpacked from words", conform, {
  half: "packed",
});
