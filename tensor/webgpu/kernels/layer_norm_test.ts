import { runConformance } from "../../conformance/suite.ts";
import { conformanceCase, normal } from "../../conformance/fixture.ts";
import { gpuTest } from "../device/device_test_util.ts";

gpuTest(
  "layerNorm() keeps its digits where the mean is a thousand deviations",
  (b) =>
    runConformance(
      b,
      conformanceCase("layerNorm", "mean 1000", { tolerance: { scaled: 5e-4 } }, (f) => ({
        x: f.input([2, 3, 384], normal(1, 1000)),
        weight: null,
        bias: null,
        scale: null,
        shift: null,
        eps: 1e-6,
        centred: true,
        out: f.output("out", [2, 3, 384]),
        mean: f.output("mean", [2, 3]),
        rstd: f.output("rstd", [2, 3]),
      })),
    ),
);
