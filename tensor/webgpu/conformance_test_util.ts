/** The suite of conformance on WebGPU, of which a software adapter runs a choice. */
import type { KernelName } from "../kernels.ts";
import { type ConformanceCase, conformanceCases, runConformance } from "../conformance/suite.ts";
import { setDebug } from "../debug.ts";
import { everyWebGpu } from "../../tests/devices.ts";
import type { WebGpuBackend, WebGpuOptions } from "./backend.ts";
import { gpuTest } from "./device/device_test_util.ts";
import { chooseCases } from "./paths_test_util.ts";

setDebug(true); // shaders that are found by a key are compared with what would be compiled

/** Read-backs take 12 ms each, most of it sleep, so cases share it. */
const AT_ONCE = 64;

/** Kernels whose shaders take longest to compile: files of tests run side by side. */
export const ATTENTION: ReadonlySet<KernelName> = new Set(["attention", "attentionGrad"]);

/** All cases of the suite. */
export const usable: readonly ConformanceCase[] = conformanceCases();

/** All of `cases` where shaders compile quickly; elsewhere see {@linkcode chooseCases}. */
export function chosen(cases: readonly ConformanceCase[], by?: "accesses"): ConformanceCase[] {
  return everyWebGpu ? [...cases] : chooseCases(cases, by);
}

/** Registers a test of `tests`, which were chosen among `of`. */
export function registerConformance(
  name: string,
  tests: readonly ConformanceCase[],
  of: readonly ConformanceCase[],
  options: WebGpuOptions = {},
): void {
  const hint = everyWebGpu ? "" : "; DIT_WEBGPU_ALL=1 for all";
  gpuTest(
    `${name} (${tests.length} of ${of.length} cases${hint})`,
    (b) => conform(b, tests),
    options,
  );
}

async function conform(b: WebGpuBackend, tests: readonly ConformanceCase[]): Promise<void> {
  const { pace } = b.runtime;
  const usual = pace.partOf.bind(pace);
  for (let i = 0; i < tests.length; i += AT_ONCE) {
    await Promise.all(
      tests.slice(i, i + AT_ONCE).map((test) =>
        runConformance(b, test, (run) => {
          // Bits may not depend on where launches are cut, so the second time they are.
          pace.partOf = (workgroups) => Math.ceil(workgroups / 3);
          run();
          pace.partOf = usual;
        })
      ),
    );
  }
}
