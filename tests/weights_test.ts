/** Weights of models on their way through files and back, to the bit. */
import { assert, assertEquals } from "@std/assert";
import { noGrad } from "../autograd/mod.ts";
import { DiT, type DiTOptions } from "../dit/mod.ts";
import {
  asDiT,
  asVae,
  lazyStateDict,
  SafetensorsFile,
  saveSafetensors,
  saveTorch,
  TorchFile,
} from "../io/mod.ts";
import { loadWeights, type Module, ModuleWeights, withoutInit } from "../nn/mod.ts";
import { Generator, scope } from "../tensor/mod.ts";
import { AutoencoderKL } from "../vae/mod.ts";
import { eachDevice } from "./devices.ts";
import { goldenPath, tempDir } from "./fixtures.ts";
import { assertScaled, Golden, goldenOnDevices } from "./goldens.ts";

const TINY: DiTOptions = {
  inputSize: 4,
  hiddenSize: 8,
  depth: 2,
  numHeads: 2,
  numClasses: 3,
};

async function assertSame(got: Module, want: Module): Promise<void> {
  assertEquals([...got.stateDict().keys()], [...want.stateDict().keys()]);
  for (const [name, t] of want.stateDict()) {
    assertEquals(await got.stateDict().get(name)!.data(), await t.data(), name);
  }
}

for (const dtype of ["f32", "f16"] as const) {
  eachDevice(`a DiT of ${dtype} survives safetensors and PyTorch files, bit by bit`, async () => {
    await using folder = await tempDir();
    using fresh = new DiT(TINY, { generator: new Generator(1) });
    const make = () => withoutInit(() => new DiT(TINY), { dtype });
    using model = make();
    model.loadStateDict(fresh.stateDict());
    const weights = new ModuleWeights(model);
    await saveSafetensors(`${folder.path}/model.safetensors`, weights);
    await saveTorch(`${folder.path}/model.pt`, lazyStateDict(weights));
    using again = make();
    {
      using file = await SafetensorsFile.open(`${folder.path}/model.safetensors`);
      assertEquals(file.info("blocks.0.attn.qkv.weight").dtype, dtype);
      await loadWeights(again, file);
    }
    await assertSame(again, model);
    using third = make();
    {
      using file = await TorchFile.open(`${folder.path}/model.pt`);
      await loadWeights(third, file.stateDict());
    }
    await assertSame(third, model);
  });
}

eachDevice("a DiT survives the way to diffusers' names and back", async () => {
  await using folder = await tempDir();
  using model = new DiT(TINY, { generator: new Generator(2) });
  const path = `${folder.path}/diffusers.safetensors`;
  const weights = new ModuleWeights(model);
  await saveSafetensors(path, asDiT(weights, "diffusers"));
  using again = withoutInit(() => new DiT(TINY));
  using file = await SafetensorsFile.open(path);
  assert(file.has("transformer_blocks.1.attn1.to_q.weight"));
  await loadWeights(again, asDiT(file, "original", await weights.read("pos_embed")));
  await assertSame(again, model);
}, ["wasm"]);

eachDevice("a VAE survives the way to latent diffusion's names and back", async () => {
  await using folder = await tempDir();
  const make = () =>
    new AutoencoderKL({ blockOutChannels: [4, 8], layersPerBlock: 1, normNumGroups: 2 });
  using model = make();
  const path = `${folder.path}/ldm.safetensors`;
  await saveSafetensors(path, asVae(new ModuleWeights(model), "ldm"));
  using again = withoutInit(make);
  using file = await SafetensorsFile.open(path);
  assertEquals(file.info("encoder.mid.attn_1.q.weight").shape, [8, 8, 1, 1]);
  await loadWeights(again, asVae(file, "diffusers"));
  await assertSame(again, model);
}, ["wasm"]);

const CHECKPOINT = "checkpoint/train/0000003.pt";
const EXPECTED = "checkpoint/train/expected.safetensors";
goldenOnDevices(
  "a checkpoint of the original's train.py computes the same here",
  [CHECKPOINT, EXPECTED],
  async () => {
    const golden = await Golden.load(EXPECTED);
    using file = await TorchFile.open(goldenPath(CHECKPOINT)!);
    const options = { patchSize: 8, hiddenSize: 16, depth: 2, numHeads: 2, numClasses: 6 };
    for (const which of ["model", "ema"]) {
      using model = withoutInit(() => new DiT(options)).eval();
      await loadWeights(model, file.stateDict(which));
      for (const [name, t] of model.stateDict()) {
        assertEquals(await t.data(), golden.floats(`${which}/${name}`), name);
      }
      const s = scope();
      const [x, t, y] = ["x", "t", "y"].map((name) => golden.tensor(`check/${name}`));
      const read = noGrad(() => model.forward(x!, t!, y!)).data();
      s[Symbol.dispose]();
      const want = golden.floats(`check/${which}_forward`);
      assertScaled(`${which}_forward`, await read, want, 2e-5);
    }
  },
);
