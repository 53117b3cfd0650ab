import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { buildModel, transferWeights } from "@dit/core/pipeline";
import { hostTensor, mapSource, saveSafetensors } from "@dit/core/io";
import { Generator, init } from "@dit/core/tensor";
import { SMALL, smallWeights, writeRun } from "../../../tests/commands.ts";
import { diskTest } from "../../../tests/fixtures.ts";
import type { Weights } from "../../model/weights.ts";
import { writeCheckpoint } from "../../run/checkpoint.ts";
import { CommandError, UsageError } from "../../shared/errors.ts";
import { parseFlags } from "../../shared/flags.ts";
import { TRAIN_FLAGS } from "./flags.ts";
import {
  flagsLike,
  freeze,
  imageSizeOf,
  matches,
  openInitial,
  rateScale,
  transferLines,
} from "./initial.ts";

Deno.test("patterns mean whole names, or their beginnings up to a dot", () => {
  const name = "blocks.1.attn.qkv.weight";
  for (const pattern of [name, "blocks", "blocks.1", "blocks.*.attn", "*.weight", "*qkv*"]) {
    assert(matches(name, pattern), pattern);
  }
  for (
    const pattern of ["block", "blocks.11", "attn", "*.bias", "blocks.1.attn.qkv.weigh", "b.ocks"]
  ) {
    assert(!matches(name, pattern), pattern);
  }
});

Deno.test("images are as large as those that a model was trained on", () => {
  const { dit } = SMALL;
  const ofImages = { ...SMALL, dit: { ...dit, inputSize: 64, inChannels: 3 }, latents: null };
  assertEquals(imageSizeOf(ofImages), 64);
  const latents = { vae: "ema", scalingFactor: 0.18215, downsample: 8 };
  assertEquals(imageSizeOf({ ...SMALL, dit: { ...dit, inputSize: 32 }, latents }), 256);
  assertEquals(imageSizeOf({ ...ofImages, dit: { ...dit, inChannels: 4 } }), undefined);
});

Deno.test("what is frozen is counted, and what means nothing or everything is refused", async () => {
  await init({ device: "wasm" });
  const fresh = () => buildModel(SMALL, { generator: new Generator(0) }).model;
  using model = fresh();
  assertEquals(freeze(model, null), 0);
  const counted = freeze(model, "blocks.0, blocks.0.attn, *.bias");
  const frozen = [...model.namedParameters()].filter(([name, p]) =>
    !p.requiresGrad && name !== "pos_embed"
  );
  assertEquals(counted, frozen.reduce((sum, [, p]) => sum + p.size, 0));
  assert(frozen.some(([name]) => name === "blocks.1.mlp.fc1.bias"));
  assert(frozen.every(([name]) => /^blocks\.0\.|\.bias$/.test(name)));
  using other = fresh();
  assertThrows(
    () => freeze(other, "block.0"),
    UsageError,
    '"block.0" means none; names begin with',
  );
  using all = fresh();
  assertThrows(() => freeze(all, "*"), UsageError, "expected some weights to be left to train");
  const scale = rateScale(other, "blocks=0.5,blocks.1=2")!;
  assertEquals(["blocks.0.mlp.fc1.bias", "blocks.1.mlp.fc1.bias", "t_embedder.x"].map(scale), [
    0.5,
    2,
    1,
  ]);
  for (const wrong of ["blocks", "blocks=", "blocks=-1", "=2", "blocks=x"]) {
    assertThrows(() => rateScale(other, wrong), UsageError, "a factor being 0 or more, but got ");
  }
  const refused = [
    ["layers=2", '"layers" means none; names begin with'],
    [" , ", '--lr-scale: expected PATTERN=FACTOR,... but got " , "'],
    ["*=0", "to be left to train but *=0 gives all of them a rate of 0"],
    ["blocks=2,*=0", "gives all of them a rate of 0"],
    ["pos_embed=2", "but all of pos_embed stay as they are"],
  ] as const;
  for (const [rates, message] of refused) {
    assertThrows(() => rateScale(other, rates), UsageError, message);
  }
  assertThrows(() => freeze(other, ","), UsageError, '--freeze: expected PATTERN,... but got ","');
  freeze(other, "blocks.1");
  assertThrows(() => rateScale(other, "blocks.1.mlp=2"), UsageError, "(--freeze, or fixed");
  assertEquals(rateScale(other, "*=0,blocks=2")!("blocks.0.mlp.fc1.bias"), 2);
});

Deno.test("a run that begins with weights has their model, where flags do not say otherwise", () => {
  const flags = (line: string) => parseFlags(line.split(" "), TRAIN_FLAGS);
  const config = {
    ...SMALL,
    name: "DiT-S/4",
    dit: { ...SMALL.dit, rope: true, learnSigma: true },
  };
  const like = flagsLike(flags("--init x --depth 7"), config);
  assertEquals([like.model, like.depth, like.rope, like["learn-sigma"]], [
    "DiT-S/4",
    7,
    true,
    true,
  ]);
  assertEquals([like["num-classes"], like.objective, like["hidden-size"]], [
    undefined,
    "xstart",
    128,
  ]);
  const flow = flagsLike(flags("--init x --process flow"), config);
  assertEquals([flow.objective, flow["learn-sigma"], flow["noise-schedule"]], [
    undefined,
    undefined,
    undefined,
  ]);
  assertEquals(flagsLike(flags("--init x"), { ...config, name: "mine" }).model, undefined);
});

Deno.test("lines say what was taken, and that the process is another one", async () => {
  const source = mapSource(await smallWeights(SMALL), "FILE");
  await init({ device: "wasm" });
  const diffusion = { ...SMALL.diffusion, process: "flow", objective: "v" } as const;
  const config = { ...SMALL, diffusion, dit: { ...SMALL.dit, depth: 1 } };
  using model = buildModel(config, { generator: new Generator(0) }).model;
  const rows = await transferWeights(model, config, { config: SMALL, source });
  const note = 'names without their prefix "module."';
  const from = { path: "FILE", config: SMALL, note, assumptions: ["4 attention heads"] };
  const lines = transferLines(rows, config, from as unknown as Weights);
  assertEquals(lines, [
    "init     FILE, small",
    '         names without their prefix "module."',
    "         assuming 4 attention heads",
    "         taken     pos_embed, x_embedder, t_embedder, y_embedder, final_layer, blocks.0",
    "         left out  blocks.1 (not in this model)",
    "         process   gaussian, predicts xstart there; flow, predicts v here",
  ]);
});

diskTest(
  "a run does not begin with an average that is mostly another's beginning",
  async (folder) => {
    const path = `${folder}/young.safetensors`;
    const [model, ema] = [await smallWeights(SMALL), new Map(await smallWeights(SMALL))];
    const name = "final_layer.linear.bias";
    ema.set(name, hostTensor(new Float32Array(4), [4]));
    for (const emaWarmup of [false, true]) {
      const settings = { emaDecay: 0.9999, emaWarmup };
      const training = { settings, position: { epoch: 0, step: 0 } };
      const header = { trainee: "dit", step: 100, config: SMALL, training };
      await writeCheckpoint(path, header, { model, ema });
      using weights = (await openInitial(parseFlags(["--init", path], TRAIN_FLAGS)))!;
      const [line] = transferLines([], SMALL, weights);
      assertEquals(line, `init     ${path}, small${emaWarmup ? "" : ", weights not averaged"}`);
      assertEquals(await weights.source.read(name), (emaWarmup ? ema : model).get(name));
    }
  },
);

diskTest(
  "weights that do not say their attention heads have those that a flag says",
  async (folder) => {
    const path = `${folder}/weights.safetensors`;
    await saveSafetensors(path, await smallWeights(SMALL));
    const open = (...args: string[]) => openInitial(parseFlags(args, TRAIN_FLAGS));
    for (const [args, heads] of [[[], 4], [["--num-heads", "2"], 2]] as const) {
      using weights = (await open("--init", path, ...args))!;
      assertEquals(weights.config.dit.numHeads, heads);
    }
    const run = await writeRun(folder, "000-run", 1);
    await assertRejects(
      () => open("--init", run, "--num-heads", "2"),
      CommandError,
      `--init: --num-heads: expected 4, which ${run} says itself, but got 2`,
    );
  },
);
