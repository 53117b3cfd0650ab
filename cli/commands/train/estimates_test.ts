import { assertEquals } from "@std/assert";
import { expect } from "@std/expect";
import { DiT, type DiTSwitches } from "@dit/core/dit";
import { withoutInit } from "@dit/core/nn";
import { init, memory, resetPeak } from "@dit/core/tensor";
import { eachDevice } from "../../../tests/devices.ts";
import { memoryEstimate, parameterCount, trainingFlops } from "./estimates.ts";
import { modelConfigOf, settingsOf, type TrainSettings } from "./settings.ts";
import { DiTTrainee } from "./dit_trainee.ts";
import type { TrainFlags } from "./flags.ts";

const XL = {
  inputSize: 32,
  patchSize: 2,
  inChannels: 4,
  hiddenSize: 1152,
  depth: 28,
  numHeads: 16,
  mlpRatio: 4,
  classDropoutProb: 0.1,
  numClasses: 1000,
  learnSigma: true,
};

Deno.test("parameterCount() of DiT-XL/2 is what the paper's model has", () => {
  assertEquals(parameterCount(XL), 675_129_632);
});

Deno.test("trainingFlops() of DiT-XL/2 is three times the paper's 119 Gflops", () => {
  // the paper counts a multiplication and an addition as one
  const gflops = trainingFlops(XL, false) / 2 / 3 / 1e9;
  expect(gflops).toBeGreaterThan(117);
  expect(gflops).toBeLessThan(121);
});

function example(flags: TrainFlags): { settings: TrainSettings; make: () => DiTTrainee } {
  const settings = settingsOf({ ...flags, "global-batch-size": 8 });
  const classNames = ["a", "b"];
  const seen = { kind: "named", channels: 1, side: 32, imageSize: 32 } as const;
  const data = { ...seen, classNames, latents: null };
  const config = modelConfigOf({ ...flags, "hidden-size": 64 }, settings, data);
  return { settings, make: () => new DiTTrainee(config, settings, { steps: 2 }) };
}

Deno.test("parameterCount() counts what each switch adds", async () => {
  await init({ device: "wasm" });
  const switches: DiTSwitches[] = [
    { norm: "rmsNorm", mlp: "swiglu", rope: true, qkNorm: true },
    { qkNorm: true, conditioning: "adaLN" },
    { norm: "rmsNorm", conditioning: "inContext" },
    { conditioning: "inContext", mlp: "swiglu" },
    { conditioning: "crossAttention" },
    { norm: "rmsNorm", conditioning: "crossAttention" },
    { bottleneck: 6 },
    { earlyHead: 1, norm: "rmsNorm" },
  ];
  for (const given of switches) {
    const dit = { ...XL, hiddenSize: 32, depth: 2, numHeads: 2, ...given };
    using model = withoutInit(() => new DiT(dit));
    assertEquals(parameterCount(dit), model.parameterCount(), JSON.stringify(given));
  }
});

eachDevice("memoryEstimate() is what a training step takes", async (device) => {
  for (const precision of ["no", "fp16"] as const) {
    for (const checkpoint of [false, true]) {
      const { settings, make } = example({
        "mixed-precision": precision,
        "grad-checkpoint": checkpoint,
      });
      resetPeak(device);
      const before = memory(device).liveBytes;
      using trainee = make();
      assertEquals(parameterCount(trainee.config.dit), trainee.model.parameterCount());
      for (let i = 0; i < 2; i++) {
        await trainee.takeStep({
          images: new Float32Array(8 * 1024),
          shape: [8, 1, 32, 32],
          labels: new Int32Array(8),
        });
      }
      await trainee.records.take();
      const taken = memory(device).peakBytes - before;
      const estimate = memoryEstimate(trainee.config.dit, settings);
      expect(estimate).toBeGreaterThan(0.85 * taken);
      expect(estimate).toBeLessThan(1.3 * taken);
    }
  }
}, ["wasm"]);
