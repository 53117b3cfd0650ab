import { assertEquals } from "@std/assert";
import { createWebGpuBackend } from "../backend.ts";
import { CountingGpu } from "../counting_gpu_test_util.ts";
import { slotsOfCore } from "../kernels/product_plan.ts";
import { measureCores } from "./cores.ts";

/** The cores that times make, of one workgroup and of 1024, each at two depths. */
async function coresOf(...times: number[]): Promise<number | null> {
  const backend = await createWebGpuBackend({}, new CountingGpu());
  const { runtime } = backend;
  const groups: number[] = [];
  runtime.onDispatch = ({ workgroups }) => void groups.push(workgroups);
  const cores = await measureCores(backend, {
    seconds: () => 0,
    time(launches) {
      launches.forEach((launch) => launch("test"));
      return Promise.resolve(times);
    },
  });
  assertEquals(groups, [1, 1, 1024, 1024]);
  await backend.dispose();
  return cores;
}

Deno.test("cores are as many as work in the time that one takes alone", async () => {
  // 36 cores, each of which takes as many workgroups at once as one of them leaves room for.
  const together = 1024 / (36 * slotsOfCore("large"));
  assertEquals(await coresOf(1.5, 2.5, 2 + together, 2 + 2 * together), 36);
  // What a launch costs makes no difference, nor does the clock.
  assertEquals(await coresOf(100, 102, 7, 7 + 2 * together), 36);
});

Deno.test("times that make no sense give no cores", async () => {
  assertEquals(await coresOf(1, 2, 3, 3), null);
  assertEquals(await coresOf(2, 1, 3, 4), null);
  assertEquals(await coresOf(1, 1000, 3, 3.001), null);
  assertEquals(await coresOf(NaN, 1, 2, 3), null);
});
