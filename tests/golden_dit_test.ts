/** The DiT against the original's numbers: every stage, output and gradient. */
import { assertEquals } from "@std/assert";
import { DiT, type DiTBlock, LabelEmbedder, timestepEmbedding } from "../dit/mod.ts";
import {
  add,
  backward,
  chunk,
  layerNormModulate,
  mean,
  noGrad,
  Parameter,
  silu,
  square,
  sub,
} from "../autograd/mod.ts";
import { withoutInit } from "../nn/mod.ts";
import { scope, type Tensor, tensor } from "../tensor/mod.ts";
import {
  assertAbsolute,
  assertScaled,
  type DiTCase,
  ditOptions,
  Golden,
  goldenJson,
  goldenOnDevices,
} from "./goldens.ts";

async function load(name: string) {
  const info = await goldenJson<DiTCase>(`dit/${name}.json`);
  const golden = await Golden.load(`dit/${name}.safetensors`);
  const model = withoutInit(() => new DiT(ditOptions(info.config)));
  model.loadStateDict((await Golden.load(`dit/${name}.weights.safetensors`)).state());
  return { info, golden, model: model.eval() };
}

for (const name of ["dit_a", "dit_b", "dit_c"]) {
  const files = ["json", "safetensors", "weights.safetensors"].map((end) => `dit/${name}.${end}`);

  goldenOnDevices(`${name} computes what the original does, stage by stage`, files, async () => {
    const { info, golden, model } = await load(name);
    using _ = model;
    assertEquals([...model.stateDict().keys()], info.parameter_order);
    assertEquals(model.parameterCount(), info.num_parameters);
    const stages = new Map<string, Tensor>();
    const limits: Record<string, number> = { "out/forward_with_cfg": 5e-5 };
    const s = scope();
    noGrad(() => {
      const [x, t, y] = ["x", "t", "y"].map((k) => golden.tensor(`in/${k}`)) as Three;
      const frequencies = model.tEmbedder.features(t);
      const [tEmb, yEmb] = [model.tEmbedder.forward(t), model.yEmbedder.forward(y)];
      const c = silu(add(tEmb, yEmb));
      stages.set("mid/t_freq", frequencies).set("mid/t_emb", tEmb).set("mid/y_emb", yEmb);
      const patches = model.xEmbedder.forward(x);
      let tokens = add(patches, model.posEmbed);
      stages.set("mid/x_embedder", patches).set("mid/tokens0", tokens);
      model.blocks.forEach((block, i) => {
        if (i === 0) {
          const modulation = (block as DiTBlock).adaLNModulation.forward(c);
          const [shift, scale] = chunk(modulation, 6, 1);
          const attention = block.attn.forward(layerNormModulate(tokens, shift!, scale!));
          stages.set("mid/block0.adaLN", modulation).set("mid/block0.attn", attention);
        }
        tokens = block.forward(tokens, c);
        stages.set(`mid/block${i}`, tokens);
      });
      stages.set("mid/final_layer", model.finalLayer.forward(tokens, c));
      stages.set("out/forward", model.forward(x, t, y));
      const late = Float32Array.from(golden.floats("in/t"), (v) => Math.fround(v * 0.997) + 0.25);
      stages.set("out/forward_fractional_t", model.forward(x, tensor(late), y));
      stages.set("out/forward_with_cfg", model.forwardWithCfg(x, t, y, info.cfg_scale));
    });
    for (const [stage, got] of stages) {
      const data = await got.data();
      // one unit in the last place of a frequency moves a feature at t = 999 by 3e-5
      if (stage === "mid/t_freq") assertAbsolute(stage, data, golden.floats(stage), 4e-5);
      else assertScaled(stage, data, golden.floats(stage), limits[stage] ?? 2e-5);
    }
    s[Symbol.dispose]();
  });

  for (const checkpointing of [false, true]) {
    const how = checkpointing ? "recomputing its blocks" : "in one pass";
    goldenOnDevices(`${name} has the original's gradients, ${how}`, files, async () => {
      const { golden, model } = await load(name);
      using _ = model;
      model.gradientCheckpointing = checkpointing;
      using x = new Parameter(golden.tensor("in/x"));
      using t = golden.tensor("in/t");
      using y = golden.tensor("in/y");
      using target = golden.tensor("in/target");
      let loss: Tensor;
      {
        using s = scope();
        loss = mean(square(sub(model.forward(x, t, y), target)));
        backward(loss);
        s.keep(loss);
      }
      assertScaled("loss", await loss.data(), golden.floats("out/loss"), 2e-5);
      loss.dispose();
      assertScaled("x", await x.grad!.data(), golden.floats("grad_in/x"), 1e-4);
      for (const [key, parameter] of model.namedParameters()) {
        if (!parameter.requiresGrad) {
          assertEquals(parameter.grad, null, key);
          continue;
        }
        const got = await parameter.grad!.data();
        const want = golden.floats(`grad/${key}`);
        if (key.endsWith("attn.qkv.bias")) { // the keys' third is zero in exact arithmetic
          const third = want.length / 3;
          assertAbsolute(
            key,
            got.subarray(third, 2 * third),
            want.subarray(third, 2 * third),
            1e-6,
          );
          got.copyWithin(third, 2 * third);
          want.copyWithin(third, 2 * third);
        }
        assertScaled(key, got, want, 1e-4);
      }
    });
  }
}

type Three = [Tensor, Tensor, Tensor];

const TIMES = "dit/timestep_embedding.safetensors";
goldenOnDevices("timestepEmbedding() has the original's features", [TIMES], async () => {
  const golden = await Golden.load(TIMES);
  for (const name of golden.names("out/")) {
    const [, whole, size, period] = /^out\/(int_)?dim(\d+)_period(\d+)$/.exec(name)!;
    using s = scope();
    const t = golden.tensor(whole ? "in/t_int" : "in/t");
    const got = timestepEmbedding(t, Number(size), Number(period));
    assertEquals(got.shape, golden.shape(name));
    const read = got.data();
    s[Symbol.dispose]();
    assertAbsolute(name, await read, golden.floats(name), 2e-4);
  }
});

const LABELS = "dit/label_embedder.safetensors";
goldenOnDevices("LabelEmbedder drops the labels that the original drops", [LABELS], async () => {
  const golden = await Golden.load(LABELS);
  const embedder = new LabelEmbedder(9, 6, 0.3);
  embedder.loadStateDict(
    new Map([["embedding_table.weight", golden.state().get("in/table")!]]),
  );
  using s = scope();
  const y = golden.tensor("in/y");
  const uniforms = golden.tensor("in/rand");
  const forced = { forceDropIds: golden.tensor("in/force_drop_ids") };
  const evaluated = embedder.eval().forward(y);
  const reads = {
    "out/eval": evaluated.data(),
    "out/forced": noGrad(() => embedder.forward(y, forced)).data(),
    "out/forced_labels": embedder.tokenDrop(y, forced).data(),
    "out/train": noGrad(() => embedder.train().forward(y, { uniforms })).data(),
    "out/train_labels": embedder.tokenDrop(y, { uniforms }).data(),
  };
  backward(evaluated, golden.tensor("in/gout"));
  const table = embedder.embeddingTable.weight.grad!.data();
  embedder.dispose();
  s[Symbol.dispose]();
  for (const [name, read] of Object.entries(reads)) {
    assertEquals(Array.from(await read), Array.from(golden.floats(name)), name);
  }
  assertScaled("grad/table", await table, golden.floats("grad/table"), 1e-5);
});
