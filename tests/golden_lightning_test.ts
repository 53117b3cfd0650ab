/** LightningDiT's blocks (RoPE, SwiGLU, RMSNorm, QK-norm) against the numbers of its program. */
import { assertEquals } from "@std/assert";
import { backward, mul, sum } from "../autograd/mod.ts";
import { openWeights } from "../cli/model/weights.ts";
import { switchesOf } from "../dit/mod.ts";
import { loadWeights } from "../nn/mod.ts";
import { buildModel } from "../pipeline/mod.ts";
import { scope } from "../tensor/mod.ts";
import { goldenPath } from "./fixtures.ts";
import { assertGolden, Golden, goldenOnDevices } from "./goldens.ts";

const VALUES = "lightning/lightning.safetensors";
const CASES: Readonly<Record<string, string[]>> = {
  all: ["norm rmsNorm", "mlp swiglu", "rope true", "qkNorm true"],
  layer_norm: ["rope true", "qkNorm true"],
};

for (const [name, switches] of Object.entries(CASES)) {
  const file = `lightning/${name}.pt`;
  goldenOnDevices(`a model of LightningDiT loads and computes as there: ${name}`, [
    VALUES,
    file,
  ], async () => {
    using _ = scope();
    const golden = await Golden.load(VALUES);
    const overrides = { process: "flow", numHeads: 2 } as const;
    using weights = await openWeights(goldenPath(file)!, "ema", overrides);
    const { config } = weights;
    assertEquals(switchesOf(config.dit), switches);
    assertEquals([config.dit.mlpRatio, config.dit.depth, config.dit.numClasses], [4, 2, 5]);
    const { model } = buildModel(config, { dtype: "f32" });
    await loadWeights(model, weights.source);
    const [x, t, y, g] = ["x", "t", "y", "g"].map((k) => golden.tensor(`${name}/${k}`));
    const out = model.eval().forward(x!, t!, y!);
    await assertGolden(golden, out, `${name}/out`, 1e-5);
    backward(sum(mul(out, g!)));
    const parameters = new Map(model.namedParameters());
    for (const key of golden.names(`${name}/grad/`)) {
      const { grad } = parameters.get(key.slice(`${name}/grad/`.length))!;
      await assertGolden(golden, grad!, key, 1e-4);
    }
    model.dispose();
  });
}
