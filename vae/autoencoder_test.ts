import { assert, assertEquals, assertThrows } from "@std/assert";
import { expect } from "@std/expect";
import { add, backward, gradcheck, mean, noGrad, square, sub } from "../autograd/mod.ts";
import { withoutInit } from "../nn/mod.ts";
import {
  Generator,
  GradientError,
  memory,
  randn,
  resetPeak,
  scope,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "../tensor/mod.ts";
import { eachDevice, scaledError } from "../tests/devices.ts";
import {
  AutoencoderKL,
  type AutoencoderKLOptions,
  DiagonalGaussian,
  vaeConfigOf,
  vaeOptionsFromConfig,
} from "./mod.ts";
import { tileSpans } from "./tiling.ts";

const TINY: AutoencoderKLOptions = {
  latentChannels: 2,
  blockOutChannels: [4, 8],
  layersPerBlock: 1,
  normNumGroups: 2,
};

const random = (shape: number[], seed: number): Tensor =>
  randn(shape, { generator: new Generator(seed) });

eachDevice("the VAE has right gradients, through a sample of the latents too", async () => {
  using model = new AutoencoderKL(TINY);
  const s = scope();
  const x = random([1, 3, 4, 4], 1);
  const noise = random([1, 2, 2, 2], 2);
  const loss = (x: Tensor) => {
    const posterior = model.encode(x);
    const again = model.decode(posterior.sample({ noise }));
    return [mean(square(sub(again, x))), posterior.kl()];
  };
  const options = { samples: 2, tolerance: 5e-3, absolute: 1e-5 };
  await gradcheck(loss, [x, ...model.parameters()], options);
  s[Symbol.dispose]();
}, ["wasm"]);

eachDevice("training the VAE leaves nothing behind and reaches every weight", () => {
  using model = new AutoencoderKL(TINY);
  using s = scope();
  const x = random([2, 3, 8, 8], 3);
  const posterior = model.encode(x);
  const again = model.decode(posterior.sample({ generator: new Generator(4) }));
  assertEquals(again.shape, x.shape);
  backward(add(mean(square(sub(again, x))), mean(posterior.kl())));
  assert(model.parameters().every((p) => p.grad !== null));
  s[Symbol.dispose]();
}, ["wasm"]);

eachDevice("DiagonalGaussian clamps, and its divergence from itself is 0", async () => {
  const s = scope();
  const standard = new DiagonalGaussian(zeros([3, 4, 2, 2]));
  const wild = new DiagonalGaussian(
    tensor([1, -2, 50, -50], [1, 4, 1, 1]),
  );
  const noise = tensor([1, 1], [1, 2, 1, 1]);
  const reads = [
    standard.kl(),
    wild.logvar,
    wild.mode(),
    wild.sample({ noise }),
  ].map((t) => t.data());
  assertThrows(() => wild.sample({ noise: zeros([1, 2, 1, 2]) }), ShapeError, "expected noise");
  assertThrows(() => new DiagonalGaussian(zeros([1, 3, 2, 2])), ShapeError, "moments [N, 2 C");
  s[Symbol.dispose]();
  const [kl, logvar, mode, sample] = await Promise.all(reads);
  assertEquals(Array.from(kl!), [0, 0, 0]);
  assertEquals(Array.from(logvar!), [20, -30]);
  assertEquals(Array.from(mode!), [1, -2]);
  expect(Math.abs(sample![0]! / (1 + Math.exp(10)) - 1)).toBeLessThan(1e-5);
});

eachDevice("a VAE whose weights are f16 computes nearly the same", async () => {
  using model = new AutoencoderKL(TINY);
  using halves = withoutInit(() => new AutoencoderKL(TINY), { dtype: "f16" });
  halves.loadStateDict(model.stateDict());
  const s = scope();
  const [x, z] = [random([1, 3, 8, 8], 8), random([1, 2, 4, 4], 9)];
  const run = (vae: AutoencoderKL) => [vae.encode(x).mean, vae.decode(z)];
  const outs = noGrad(() => [model, halves].flatMap(run));
  assertEquals(outs.map((t) => t.dtype), ["f32", "f32", "f32", "f32"]);
  const [mean, image, mean16, image16] = await Promise.all(outs.map((t) => t.data()));
  s[Symbol.dispose]();
  for (const [got, want] of [[mean16!, mean!], [image16!, image!]] as const) {
    expect(scaledError(got, want)).toBeLessThan(5e-3);
  }
});

eachDevice("tiles are blended into nearly the same image and latents", async () => {
  using model = new AutoencoderKL({ ...TINY, blockOutChannels: [8, 8] });
  const s = scope();
  const x = random([2, 3, 48, 32], 5);
  const z = random([2, 2, 24, 16], 6);
  const run = () => noGrad(() => [model.encode(x).mean, model.decode(z)]).map((t) => t.data());
  const whole = await Promise.all(run());
  model.tiling = { size: 48 };
  const small = await Promise.all(run());
  model.tiling = { size: 24, overlap: 0.5 };
  const cut = await Promise.all(run());
  assertThrows(() => model.decode(z), GradientError, "expected noGrad()");
  s[Symbol.dispose]();
  assertEquals(small, whole); // nothing exceeds a tile
  for (const [i, want] of whole.entries()) {
    const error = scaledError(cut[i]!, want);
    assert(error > 0 && error < 0.25, `${error}`);
  }
}, ["wasm"]);

eachDevice("tiles bound the memory that large images take", () => {
  using model = new AutoencoderKL({ ...TINY, blockOutChannels: [8, 8] });
  const peaks = [null, { size: 32 }].map((tiling) => {
    model.tiling = tiling;
    using s = scope();
    const z = random([1, 2, 64, 64], 7);
    const before = memory().liveBytes;
    resetPeak();
    noGrad(() => model.decode(z));
    const peak = memory().peakBytes - before;
    s[Symbol.dispose]();
    return peak;
  });
  expect(peaks[1]!).toBeLessThan(peaks[0]! / 3);
}, ["wasm"]);

Deno.test("tileSpans() covers every element with weights that add up to 1", () => {
  for (
    const [size, tile, overlap, scale] of [[10, 4, 1, 2], [64, 32, 8, 8], [9, 8, 0, 1], [
      5,
      8,
      2,
      3,
    ], [
      64,
      16,
      8,
      1 / 8,
    ]] as const
  ) {
    const totals = new Float64Array(size * scale);
    for (const { start, length, weights } of tileSpans(size, tile, overlap, scale)) {
      assert(start >= 0 && start + length <= size);
      assertEquals(weights.length, length * scale);
      weights.forEach((w, i) => totals[start * scale + i]! += w);
    }
    assert(totals.every((total) => Math.abs(total - 1) < 1e-6));
  }
});

eachDevice("the VAE refuses images and latents that do not fit", () => {
  using model = new AutoencoderKL(TINY);
  using s = scope();
  assertEquals([model.factor, model.scalingFactor], [2, 0.18215]);
  assertThrows(() => model.encode(zeros([1, 3, 4, 5])), ShapeError, "H and W multiples of 2");
  assertThrows(() => model.encode(zeros([1, 4, 4, 4])), ShapeError, "images [N, 3, H, W]");
  assertThrows(() => model.decode(zeros([1, 4, 4, 4])), ShapeError, "latents [N, 2, h, w]");
  const refused = (options: AutoencoderKLOptions, text: string) =>
    assertThrows(() => new AutoencoderKL({ ...TINY, ...options }), Error, text);
  refused({ blockOutChannels: [4, 7] }, "multiples of normNumGroups (2) but got 7");
  refused({ blockOutChannels: [] }, "levels to be 1 or more but got 0");
  refused({ layersPerBlock: 0 }, "layersPerBlock to be 1 or more but got 0");
  refused({ scalingFactor: 0 }, "scalingFactor above 0");
  s[Symbol.dispose]();
}, ["wasm"]);

Deno.test("a configuration survives the way to diffusers and back", () => {
  const options = vaeOptionsFromConfig({ block_out_channels: [32, 64], act_fn: "silu", _x: 1 });
  assertEquals(options, { blockOutChannels: [32, 64] });
  const config = vaeConfigOf(options);
  assertEquals(config.latent_channels, 4);
  assertEquals(config.scaling_factor, 0.18215); // absent from the files of stabilityai
  assertEquals(vaeConfigOf(vaeOptionsFromConfig(config)), config);
});

Deno.test("vaeOptionsFromConfig() refuses other architectures by name", () => {
  const refused = (config: Record<string, unknown>, text: string) =>
    assertThrows(() => vaeOptionsFromConfig(config), RangeError, text);
  refused({ act_fn: "gelu" }, 'expected act_fn like "silu" in the configuration but got "gelu"');
  refused({ use_quant_conv: false }, "use_quant_conv like true");
  refused({ down_block_types: ["AttnDownEncoderBlock2D"] }, '"AttnDownEncoderBlock2D"');
  refused({ block_out_channels: "128" }, "block_out_channels like [128]");
  refused({ latent_channels: "4" }, 'latent_channels like 1 in the configuration but got "4"');
});
