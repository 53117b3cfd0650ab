import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { noWebGpu } from "../tests/devices.ts";
import { CountingGpu } from "../tensor/webgpu/counting_gpu_test_util.ts";
import { run } from "./gpu.ts";
import { fileName } from "./gpu/adapter.ts";
import { Report } from "./measure.ts";

const TINY = { tiny: true, only: undefined, seconds: Infinity };

/** Fails where a table of the report is missing, or has a cell that is no figure. */
function checkTables({ tables }: Report, titles: readonly string[]): void {
  for (const title of titles) {
    assert(title in tables, `no table of ${title}`);
    for (const row of tables[title]!) {
      assertEquals(row["note"], undefined);
      for (const [head, value] of Object.entries(row)) {
        assert(typeof value === "string" || Number.isFinite(value), `${title}: ${head}: ${value}`);
      }
    }
  }
}

Deno.test({
  name: `the GPU kit measures an adapter in miniature${noWebGpu ? ` (${noWebGpu})` : ""}`,
  ignore: noWebGpu !== undefined,
  // The CPU's threads end with the process.
  sanitizeResources: false,
  sanitizeOps: false,
  async fn() {
    // The sections that need few shaders: CI runs all of them by the command.
    const only = ["ceilings", "cpu"];
    const kept: string[][] = [];
    const report = new Report(({ tables }) => kept.push(Object.keys(tables)));
    await run(report, { ...TINY, only });
    assertEquals(Object.keys(report.facts["seconds"] as object), only);
    assertEquals(report.facts["failures"], undefined);
    const information = report.facts["information"] as { limits: Record<string, number> };
    assert(information.limits["maxBufferSize"]! > 0);
    const titles = [
      "bandwidth",
      "what asking costs",
      "copies between GPU and host",
      "matrix products",
      "the same on the CPU",
    ];
    checkTables(report, titles);
    // Each table is kept at once, so that a run that is cut off loses only the rest.
    for (let i = 1; i <= titles.length; i++) {
      assert(kept.some((done) => done.join() === titles.slice(0, i).join()));
    }
  },
});

Deno.test("the GPU kit takes steps and samples on a GPU without timestamps", async () => {
  const report = new Report();
  const source = { engine: "none", gpu: new CountingGpu() };
  await run(report, { ...TINY, only: ["steps", "sampling"] }, source);
  checkTables(report, ["training steps", "guided sampling"]);
  assertEquals(report.tables["training steps"]!.map((row) => row["GPU, ms"]), [
    "no timestamps",
    "no timestamps",
  ]);
});

Deno.test("the GPU kit says where WebGPU reaches no matrix units", async () => {
  const report = new Report();
  const source = { engine: "none", gpu: new CountingGpu() };
  await run(report, { ...TINY, only: ["tensor-cores"] }, source);
  assertStringIncludes(String(report.facts["tensor cores"]), "not reached");
  assertEquals(report.tables, {});
});

Deno.test("the GPU kit fails, at its end, on a GPU that computes something else", async () => {
  const report = new Report();
  const source = { engine: "none", gpu: new CountingGpu() };
  const options = { ...TINY, only: ["conformance", "sampling"] };
  await assertRejects(() => run(report, options, source), Error, "gpu: failed in conformance");
  assertStringIncludes((report.facts["conformance failures"] as string[])[0]!, "element");
  checkTables(report, ["guided sampling"]);
});

Deno.test("without time left the GPU kit says so and estimates nothing", async () => {
  const report = new Report();
  const source = { engine: "none", gpu: new CountingGpu() };
  await run(report, { tiny: false, only: ["steps"], seconds: 1 }, source);
  const rows = report.tables["training steps"]!;
  assertEquals(rows.map((row) => row["note"]), rows.map(() => "no time left"));
});

Deno.test("results are named after the adapter", () => {
  const adapter = { info: { description: "NVIDIA H100 80GB HBM3" } } as GPUAdapter;
  assertEquals(fileName(adapter), "nvidia-h100-80gb-hbm3");
});
