/** The autoencoder against latent diffusion's numbers, by weights under all three kinds of names. */
import { assertEquals } from "@std/assert";
import { add, backward, concat, mean, mul, noGrad, Parameter, square } from "../autograd/mod.ts";
import { asVae, SafetensorsFile } from "../io/mod.ts";
import { loadWeights, withoutInit } from "../nn/mod.ts";
import { scope, type Tensor } from "../tensor/mod.ts";
import { AutoencoderKL, DiagonalGaussian, vaeConfigOf, vaeOptionsFromConfig } from "../vae/mod.ts";
import { goldenPath } from "./fixtures.ts";
import { assertAbsolute, assertScaled, Golden, goldenJson, goldenOnDevices } from "./goldens.ts";

const CONFIG = "vae/vae_diffusers_config.json";
const INFO = "vae/vae.json";
const KEYS = "vae/vae_keymap.json";
const VALUES = "vae/vae.safetensors";
const DIFFUSERS = "vae/vae_diffusers.weights.safetensors";
const LDM = "vae/vae_ldm.weights.safetensors";
const FILES = [CONFIG, INFO, KEYS, VALUES, DIFFUSERS, LDM];

interface Info {
  num_parameters: number;
  zero_gradient: string[];
  gradients: Record<string, { shape: number[]; stride: number; l2: number }>;
}

interface KeyMap {
  keys: { ldm: string; diffusers: string; diffusers_shape: number[] }[];
}

/** The reference model with the weights of `file`. */
async function load(file: string): Promise<AutoencoderKL> {
  const config = await goldenJson<Record<string, unknown>>(CONFIG);
  const model = withoutInit(() => new AutoencoderKL(vaeOptionsFromConfig(config)));
  using weights = await SafetensorsFile.open(goldenPath(file)!);
  await loadWeights(model, asVae(weights, "diffusers"));
  return model.eval();
}

goldenOnDevices("the VAE has diffusers' names and shapes", FILES, async () => {
  const config = await goldenJson<Record<string, unknown>>(CONFIG);
  const model = withoutInit(() => new AutoencoderKL(vaeOptionsFromConfig(config)));
  using _ = model;
  const { keys } = await goldenJson<KeyMap>(KEYS);
  const want = new Map(keys.map((k) => [k.diffusers, k.diffusers_shape]));
  const got = new Map([...model.namedTensors()].map(([name, t]) => [name, [...t.shape]]));
  assertEquals(new Map([...got].toSorted()), new Map([...want].toSorted()));
  assertEquals(model.parameterCount(), (await goldenJson<Info>(INFO)).num_parameters);
  assertEquals(vaeConfigOf(model.options), config);
}, ["wasm"]);

for (const file of [DIFFUSERS, LDM]) {
  goldenOnDevices(`the VAE encodes and decodes as the original (${file})`, FILES, async () => {
    const golden = await Golden.load(VALUES);
    using model = await load(file);
    const stages = new Map<string, Tensor>();
    const s = scope();
    noGrad(() => {
      const [x, z] = [golden.tensor("in/x"), golden.tensor("in/z")];
      const { encoder, decoder } = model;
      let y = encoder.convIn.forward(x);
      stages.set("mid/encoder.conv_in", y);
      for (const block of encoder.downBlocks) {
        if (stages.size === 1) {
          const before = block.resnets.reduce((h, resnet) => resnet.forward(h), y);
          stages.set("mid/encoder.down.0.downsample", block.downsamplers[0]!.forward(before));
        }
        y = block.forward(y);
      }
      const [first, second] = encoder.midBlock.resnets;
      stages.set("mid/encoder.mid.block_1", y = first!.forward(y));
      stages.set("mid/encoder.mid.attn_1", y = encoder.midBlock.attentions[0]!.forward(y));
      stages.set("mid/encoder.mid.block_2", second!.forward(y));
      stages.set("out/encoder", encoder.forward(x));
      let h = decoder.convIn.forward(model.postQuantConv.forward(z));
      stages.set("mid/decoder.conv_in", h);
      h = decoder.midBlock.attentions[0]!.forward(decoder.midBlock.resnets[0]!.forward(h));
      stages.set("mid/decoder.mid.attn_1", h);
      h = decoder.midBlock.resnets[1]!.forward(h);
      stages.set("mid/decoder.up.2.block.0", decoder.upBlocks[0]!.resnets[0]!.forward(h));
      stages.set("out/decode", model.decode(z));
      stages.set("out/moments", model.quantConv.forward(encoder.forward(x)));
      const posterior = model.encode(x);
      const sample = posterior.sample({ noise: golden.tensor("in/eps") });
      stages.set("out/dist_mean", posterior.mode()).set("out/dist_logvar", posterior.logvar);
      stages.set("out/dist_std", posterior.std()).set("out/dist_kl", posterior.kl());
      stages.set("out/dist_sample", sample);
      stages.set("out/latent_scaled", mul(sample, model.scalingFactor));
      const clamped = new DiagonalGaussian(golden.tensor("clamp/moments"));
      stages.set("clamp/mean", clamped.mean).set("clamp/logvar", clamped.logvar);
      stages.set("clamp/std", clamped.std());
    });
    const reads = [...stages].map(([stage, t]) => [stage, t.data()] as const);
    s[Symbol.dispose]();
    for (const [stage, read] of reads) {
      assertScaled(stage, await read, golden.floats(stage), 1e-4);
    }
  }, ["wasm", file === DIFFUSERS ? "webgpu" : "gpu"]);
}

goldenOnDevices("the VAE has the original's gradients", FILES, async () => {
  const golden = await Golden.load(VALUES);
  const info = await goldenJson<Info>(INFO);
  const names = new Map((await goldenJson<KeyMap>(KEYS)).keys.map((k) => [k.diffusers, k.ldm]));
  using model = await load(DIFFUSERS);
  using x = new Parameter(golden.tensor("in/x"));
  using z = new Parameter(golden.tensor("in/z"));
  let loss: Promise<ArrayLike<number>>;
  {
    using _ = scope();
    const posterior = model.encode(x); // its logvar is clamped: for the moments themselves, join
    const moments = concat([posterior.mean, posterior.logvar], 1);
    const total = add(mean(square(model.decode(z))), mean(square(moments)));
    loss = total.data();
    backward(total);
  }
  assertScaled("loss", await loss, golden.floats("out/loss"), 1e-4);
  assertScaled("x", await x.grad!.data(), golden.floats("grad_in/x"), 1e-3);
  assertScaled("z", await z.grad!.data(), golden.floats("grad_in/z"), 1e-3);
  for (const [name, parameter] of model.namedParameters()) {
    const ldm = names.get(name)!;
    const whole = await parameter.grad!.data();
    const { stride } = info.gradients[ldm]!;
    const got = whole.filter((_, i) => i % stride === 0);
    const want = golden.floats(`grad_sub/${ldm}`);
    if (info.zero_gradient.includes(ldm)) assertAbsolute(ldm, got, want, 1e-6);
    else assertScaled(ldm, got, want, 1e-3);
  }
});
