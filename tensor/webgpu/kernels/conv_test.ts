import { assertEquals } from "@std/assert";
import { conformanceCases, runConformance } from "../../conformance/suite.ts";
import { conformanceCase } from "../../conformance/fixture.ts";
import { gpuTest } from "../device/device_test_util.ts";

gpuTest("convolutions of a block of a VAE agree with the reference", async (b) => {
  const cases = [
    ...conformanceCases({ kernel: "conv2d" }),
    ...conformanceCases({ kernel: "conv2dGradWeight" }),
  ].filter(({ name, half }) => !half && name === "3x3, 64 to 64 channels");
  assertEquals(cases.length, 2);
  for (const test of cases) await runConformance(b, test);
});

gpuTest("conv2dGradWeight() sums a long image in parts", async (b) => {
  const test = conformanceCase("conv2dGradWeight", "2 images of 40 x 40", {}, (f) => ({
    x: f.input([2, 3, 40, 40]),
    g: f.input([2, 4, 40, 40]),
    stride: 1,
    padTop: 1,
    padLeft: 1,
    out: f.output("out", [4, 3, 3, 3]),
  }));
  await runConformance(b, test);
  // Two launches, each of a product and of the addition of its parts.
  assertEquals(b.runtime.stats.dispatches, 4);
});
