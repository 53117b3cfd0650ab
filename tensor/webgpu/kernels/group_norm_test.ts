import { runConformance } from "../../conformance/suite.ts";
import { conformanceCase, normal, uniform } from "../../conformance/fixture.ts";
import { gpuTest } from "../device/device_test_util.ts";

gpuTest("groupNorm() combines the statistics of a group's parts", (b) =>
  runConformance(
    b,
    conformanceCase("groupNorm", "a group of 33,002", { tolerance: { scaled: 1e-4 } }, (f) => ({
      x: f.input([1, 2, 16501], normal(1, 30)),
      weight: f.input([2]),
      bias: f.input([2]),
      groups: 1,
      eps: 1e-6,
      silu: true,
      out: f.output("out", [1, 2, 16501]),
      mean: f.output("mean", [1, 1]),
      rstd: f.output("rstd", [1, 1]),
    })),
  ));

gpuTest("groupNormGrad() adds up the sums of a channel's parts", (b) =>
  runConformance(
    b,
    conformanceCase("groupNormGrad", "channels of 16,501", {}, (f) => ({
      x: f.input([2, 2, 16501]),
      g: f.input([2, 2, 16501]),
      weight: f.input([2], normal(0.5, 1)),
      bias: f.input([2]),
      groups: 1,
      silu: true,
      mean: f.input([2, 1], normal(0.1)),
      rstd: f.input([2, 1], uniform(0.8, 1.2)),
      dx: f.output("dx", [2, 2, 16501]),
      dWeight: f.output("dWeight", [2]),
      dBias: f.output("dBias", [2]),
    })),
  ));
