import { assertEquals, assertThrows } from "@std/assert";
import { mapSource } from "../io/mod.ts";
import { ModuleWeights, withoutInit } from "../nn/mod.ts";
import { ShapeError } from "../tensor/mod.ts";
import { eachDevice } from "../tests/devices.ts";
import { createDiT, DiT, ditNameOf, type DiTOptions, ditOptionsOf } from "./mod.ts";

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
  ];
  for (const options of cases) {
    using model = withoutInit(() => new DiT(options));
    const { numHeads, classDropoutProb } = model.options;
    const found = ditOptionsOf(new ModuleWeights(model), { numHeads, classDropoutProb });
    assertEquals(found, model.options);
    assertThrows(() => ditOptionsOf(new ModuleWeights(model)), RangeError, "numHeads to be given");
    assertEquals(ditNameOf(found), null);
  }
}, ["wasm"]);

eachDevice("ditOptionsOf() knows the heads of named models, ditNameOf() their names", () => {
  using model = withoutInit(() => createDiT("DiT-S/4", { numClasses: 10 }));
  const found = ditOptionsOf(new ModuleWeights(model));
  assertEquals(found, model.options);
  assertEquals(ditNameOf(found), "DiT-S/4");
}, ["wasm"]);

Deno.test("ditOptionsOf() says which weight it misses", () => {
  assertThrows(
    () => ditOptionsOf(mapSource(new Map())),
    ShapeError,
    "a weight x_embedder.proj.weight of 4 dimensions but got none",
  );
});
