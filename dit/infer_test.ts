import { assertEquals, assertThrows } from "@std/assert";
import { mapSource } from "../io/mod.ts";
import { ModuleWeights, withoutInit } from "../nn/mod.ts";
import { ShapeError } from "../tensor/mod.ts";
import { eachDevice } from "../tests/devices.ts";
import { createDiT, DiT, DIT_DEFAULTS, ditNameOf, type DiTOptions, ditOptionsOf } from "./mod.ts";

const SMALL = { inputSize: 4, inChannels: 2, hiddenSize: 8, depth: 1, numHeads: 2, numClasses: 3 };

eachDevice("ditOptionsOf() finds the options of a model from its weights", () => {
  const cases: DiTOptions[] = [
    { inputSize: 8, hiddenSize: 8, depth: 3, numHeads: 2, numClasses: 5 },
    {
      inputSize: 12,
      patchSize: 4,
      inChannels: 3,
      hiddenSize: 16,
      depth: 1,
      numHeads: 4,
      mlpRatio: 2.5,
      classDropoutProb: 0,
      numClasses: 7,
      learnSigma: false,
    },
    { ...SMALL, norm: "rmsNorm", mlp: "swiglu", qkNorm: true },
    { ...SMALL, mlp: "swiglu", mlpRatio: 1 },
    { ...SMALL, conditioning: "inContext", qkNorm: true },
    { ...SMALL, conditioning: "crossAttention", norm: "rmsNorm", mlp: "swiglu", mlpRatio: 3 },
  ];
  for (const options of cases) {
    using model = withoutInit(() => new DiT(options));
    const { numHeads, classDropoutProb } = model.options;
    const found = ditOptionsOf(new ModuleWeights(model), { numHeads, classDropoutProb });
    assertEquals({ ...DIT_DEFAULTS, ...found }, model.options);
    assertThrows(() => ditOptionsOf(new ModuleWeights(model)), RangeError, "numHeads to be given");
    assertEquals(ditNameOf(found), null);
  }
}, ["wasm"]);

eachDevice("ditOptionsOf() finds the width of every MLP again", () => {
  const options = { ...SMALL, hiddenSize: 28, numHeads: 7 };
  for (const mlpRatio of [2.2, 4.11, 61.5 / 28]) { // 28 (61 / 28) is 60.99...
    using model = withoutInit(() => new DiT({ ...options, mlpRatio }));
    const weights = new ModuleWeights(model);
    using again = withoutInit(() => new DiT(ditOptionsOf(weights, { numHeads: 7 })));
    const bias = "blocks.0.mlp.fc1.bias";
    assertEquals(new ModuleWeights(again).info(bias), weights.info(bias));
  }
}, ["wasm"]);

eachDevice("ditOptionsOf() knows the heads of named models, ditNameOf() their names", () => {
  using model = withoutInit(() => createDiT("DiT-S/4", { numClasses: 10 }));
  const found = ditOptionsOf(new ModuleWeights(model));
  assertEquals({ ...DIT_DEFAULTS, ...found }, model.options);
  assertEquals(ditNameOf(found), "DiT-S/4");
}, ["wasm"]);

eachDevice("ditOptionsOf() refuses blocks whose vectors it cannot name", () => {
  using model = withoutInit(() => new DiT({ ...SMALL, conditioning: "adaLN" }));
  assertThrows(
    () => ditOptionsOf(new ModuleWeights(model), { numHeads: 2 }),
    ShapeError,
    "expected adaLN of 6 vectors a block but got 4",
  );
}, ["wasm"]);

Deno.test("ditOptionsOf() says which weight it misses", () => {
  assertThrows(
    () => ditOptionsOf(mapSource(new Map())),
    ShapeError,
    "a weight x_embedder.proj.weight of 4 dimensions but got none",
  );
});
