import { assert, assertEquals } from "@std/assert";
import { adapter, everyWebGpu } from "../../../tests/devices.ts";
import { conformanceCases, runConformance } from "../../conformance/suite.ts";
import type { KernelName } from "../../kernels.ts";
import { createWebGpuBackend, type WebGpuBackend } from "../backend.ts";
import { rowLayout } from "../shader/rows.ts";
import { RowArrays } from "./rows.ts";

const size = Number((adapter?.info as { subgroupMinSize?: number } | undefined)?.subgroupMinSize);
const missing = size > 1 ? undefined : "needs an adapter with subgroups";

function subgroupTest(name: string, run: (backend: WebGpuBackend) => Promise<void>): void {
  Deno.test({
    name: missing ? `${name} (${missing})` : name,
    ignore: missing !== undefined,
    async fn() {
      const backend = await createWebGpuBackend();
      try {
        assertEquals((await backend.findSubgroups())?.size, size);
        await run(backend);
      } finally {
        await backend.dispose();
      }
    },
  });
}

/** Rows of less than a subgroup of lanes, of some, and of the largest workgroup. */
const WIDTHS = everyWebGpu ? [8, 24, 64, 128, 384, 768, 1152, 1151] : [24, 1152];

subgroupTest("norms have the same bits when rows are reduced by subgroups", async (backend) => {
  const { runtime } = backend;
  for (const width of WIDTHS) {
    for (const [batch, tokens] of [[1, 3], [2, 67]] as const) {
      using arrays = new RowArrays(backend, { dtype: "f32", batch, tokens, width });
      const before = runtime.stats.pipelines;
      for (let i = 0; i < 2; i++) {
        // Each holds what it computes to what the first one did.
        for (const { name, isRight } of arrays.variants()) {
          assert(await isRight(), `${batch * tokens} x ${width}: ${name}`);
        }
      }
      if (tokens === 3) assertEquals(runtime.stats.pipelines - before, 4);
    }
  }
});

const KERNELS: readonly KernelName[] = [
  "layerNorm",
  "softmax",
  "softmaxGrad",
  "layerNormGrad",
  "groupNorm",
  "groupNormGrad",
  "attentionGrad",
];

subgroupTest("kernels of rows agree with the reference by subgroups", async (backend) => {
  const { runtime } = backend;
  const lanes = [1, 2, 4, 8, 16, 32, 64, 128, 256];
  const rows = Object.fromEntries(lanes.map((count) => [count, "subgroups" as const]));
  runtime.plans = { ...runtime.plans, rows };
  assertEquals(rowLayout(1152, true, runtime).subgroup, Math.min(size, 128));
  for (const kernel of KERNELS.slice(0, everyWebGpu ? KERNELS.length : 2)) {
    const cases = conformanceCases({ kernel }).sort((a, b) => a.cost - b.cost);
    for (const test of everyWebGpu ? cases : cases.slice(-1)) await runConformance(backend, test);
  }
});
