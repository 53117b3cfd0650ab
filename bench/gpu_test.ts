import { assert, assertEquals, assertRejects } from "@std/assert";
import { requireWebGpu, webgpuMissing } from "../tests/devices.ts";
import { run, SECTIONS } from "./gpu.ts";
import { fileName } from "./gpu/adapter.ts";
import { Report } from "./measure.ts";

const missing = requireWebGpu ? undefined : webgpuMissing;
const TINY = { tiny: true, only: undefined, seconds: Infinity };

Deno.test({
  name: `the GPU kit runs in miniature, and keeps what it finds${missing ? ` (${missing})` : ""}`,
  ignore: missing !== undefined,
  // The device keeps its buffers until the process ends.
  sanitizeResources: false,
  sanitizeOps: false,
  async fn() {
    const kept: string[][] = [];
    const report = new Report(({ tables }) => kept.push(Object.keys(tables)));
    await run(report, TINY);
    assertEquals(Object.keys(report.facts["seconds"] as object), [...SECTIONS]);
    assertEquals(report.facts["failures"], undefined);
    assertEquals(report.facts["conformance failures"], []);
    const information = report.facts["information"] as { limits: Record<string, number> };
    assert(information.limits["maxBufferSize"]! > 0);
    const titles = Object.keys(report.tables);
    for (
      const title of [
        "conformance",
        "bandwidth",
        "what asking costs",
        "matrix products",
        "training steps",
        "guided sampling",
        "the same on the CPU",
      ]
    ) {
      assert(titles.includes(title), `no table of ${title}`);
      for (const row of report.tables[title]!) {
        assertEquals(row["note"], undefined);
        for (const [head, value] of Object.entries(row)) {
          assert(
            typeof value === "string" || Number.isFinite(value),
            `${title}: ${head}: ${value}`,
          );
        }
      }
    }
    // Each table is kept as soon as it is there, so that a run that is cut off loses only the rest.
    assert(
      kept.some((titles) => titles.includes("bandwidth") && !titles.includes("training steps")),
    );
  },
});

Deno.test("a section that there is not is refused", async () => {
  await assertRejects(
    async () => await run(new Report(), { ...TINY, only: ["speed"] }),
    Error,
    "--only: expected some of conformance,",
  );
});

Deno.test("results are named after the adapter", () => {
  const adapter = { info: { description: "NVIDIA H100 80GB HBM3" } } as GPUAdapter;
  assertEquals(fileName(adapter), "nvidia-h100-80gb-hbm3");
});
