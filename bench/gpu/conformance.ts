/** Every kernel held to the float64 reference on this GPU, as the tests do. */
import type { Device } from "@dit/core";
import type { KernelName } from "../../tensor/kernels.ts";
import {
  type ConformanceCase,
  conformanceCases,
  runConformance,
} from "../../tensor/conformance/suite.ts";
import type { WebGpuBackend } from "../../tensor/webgpu/backend.ts";
import type { Report } from "../measure.ts";

/** Read-backs take the host 12 ms each in Deno, so cases share them. */
const AT_ONCE = 64;

/** Cases that a software adapter compiles in seconds, one a kernel. */
function fewCases(): ReturnType<typeof conformanceCases> {
  const least = new Map<string, ReturnType<typeof conformanceCases>[number]>();
  for (const test of conformanceCases()) {
    const known = least.get(test.kernel);
    if (!known || test.cost < known.cost) least.set(test.kernel, test);
  }
  return [...least.values()];
}

/** Kernels that are written in another way for software adapters, where tests usually run. */
const WRITTEN_OUT: ReadonlySet<KernelName> = new Set([
  "matmul",
  "conv2d",
  "conv2dGradWeight",
  "attention",
  "attentionGrad",
]);

/** First the cases of which other adapters say least; those that take the reference least first. */
function order(a: ConformanceCase, b: ConformanceCase): number {
  const last = (test: ConformanceCase): number => WRITTEN_OUT.has(test.kernel) ? 0 : 1;
  return last(a) - last(b) || a.cost - b.cost;
}

/**
 * Runs all cases in this order, until `seconds` are over.
 *
 * @throws {Error} where any fails, after all have been tried.
 */
export async function conformance(
  report: Report,
  device: Device,
  { tiny, seconds }: { readonly tiny: boolean; readonly seconds: number },
): Promise<void> {
  const backend = device.backend as WebGpuBackend;
  const cases = (tiny ? fewCases() : conformanceCases()).sort(order);
  const end = performance.now() + seconds * 1000;
  const failures: string[] = [];
  let tried = 0;
  while (tried < cases.length && performance.now() < end) {
    const some = cases.slice(tried, tried + AT_ONCE);
    const results = await Promise.allSettled(some.map((test) => runConformance(backend, test)));
    for (const result of results) {
      if (result.status === "rejected") failures.push(String(result.reason).slice(0, 400));
    }
    tried += some.length;
  }
  report.note("conformance failures", failures);
  report.add("conformance", [{
    cases: cases.length,
    passed: tried - failures.length,
    failed: failures.length,
    "no time for": cases.length - tried,
    "pipelines of this device": backend.runtime.stats.pipelines,
  }]);
  if (failures.length > 0) throw new Error(`${failures.length} cases fail: ${failures[0]}`);
}
