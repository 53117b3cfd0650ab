import { assertEquals } from "@std/assert";
import { type KernelName, KERNELS } from "../backend.ts";
import { type ConformanceCase, conformanceCases, runConformance } from "../conformance/suite.ts";
import { setDebug } from "../debug.ts";
import { env } from "../../tests/fixtures.ts";
import type { WebGpuBackend, WebGpuOptions } from "./backend.ts";
import { adapter, gpuTest } from "./device/device_test_util.ts";
import { isSoftwareAdapter } from "./device/adapter.ts";
import { arraysOf, chooseCases } from "./paths_test_util.ts";

setDebug(true); // shaders that are found by a key are compared with what would be compiled

/** `maxStorageBuffersPerShaderStage` of every GPU. */
const DEFAULT_ARRAYS = 8;
/** Read-backs take 12 ms each, most of it sleep, so cases share it. */
const AT_ONCE = 64;

/** A software adapter compiles a shader for up to two seconds. */
const every = env("DIT_WEBGPU_ALL") === "1" || adapter === null || !isSoftwareAdapter(adapter);

const usable = conformanceCases();

function chosen(cases: ConformanceCase[], by?: "accesses"): ConformanceCase[] {
  return every ? cases : chooseCases(cases, by);
}

function register(
  name: string,
  tests: readonly ConformanceCase[],
  of: number,
  options: WebGpuOptions = {},
): void {
  const hint = every ? "" : "; DIT_WEBGPU_ALL=1 for all";
  gpuTest(`${name} (${tests.length} of ${of} cases${hint})`, (b) => conform(b, tests), options);
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

register("every kernel agrees with the reference, whole and cut", chosen(usable), usable.length);

// Such a device has no f16, so arrays of it are read in another way. Other kernels are the same to
// the letter, so a small case of those without f16 shows that the limits are enough.
const half = usable.filter((test) => test.half);
const smallest = (Object.keys(KERNELS) as KernelName[]).flatMap((kernel) => {
  if (half.some((test) => test.kernel === kernel)) return [];
  const own = usable.filter((test) => test.kernel === kernel);
  return [own.reduce((least, test) => (test.cost < least.cost ? test : least))];
});
register(
  "kernels agree with the reference on a GPU of the default limits, without f16",
  [...chosen(half, "accesses"), ...smallest],
  usable.length,
  { limits: "default" },
);

Deno.test("no kernel binds more arrays than every GPU does, in any case", () => {
  assertEquals(usable.filter((test) => arraysOf(test) > DEFAULT_ARRAYS), []);
});
