/** Inception-v3 against torchvision's modules with pytorch-fid's changes, part by part. */
import { assertEquals } from "@std/assert";
import { noGrad } from "../autograd/mod.ts";
import { foldedInception, InceptionV3 } from "../inception/mod.ts";
import { loadWeights, withoutInit } from "../nn/mod.ts";
import { Generator, rand, scope, type Tensor, tensor } from "../tensor/mod.ts";
import { absoluteError } from "./devices.ts";
import { drawnInception } from "./inception_weights.ts";
import { assertScaled, Golden, goldenJson, goldenOnDevices } from "./goldens.ts";

const INFO = "inception/inception.json";
const VALUES = "inception/network.safetensors";

interface Info {
  seed: number;
  image_stream: number;
  stages: Record<string, { shape: number[]; step: number; mean: number; norm: number }>;
}

/** Compares every part of the network on one image of `size` pixels a side. */
async function compare(size: number): Promise<void> {
  const info = await goldenJson<Info>(INFO);
  const golden = await Golden.load(VALUES);
  using model = withoutInit(() => new InceptionV3());
  await loadWeights(model, foldedInception(drawnInception(info.seed)));
  const reads: [string, readonly number[], Promise<ArrayLike<number>>][] = [];
  {
    using _ = scope();
    const note = (name: string, y: Tensor) => reads.push([name, y.shape, y.data()]);
    const uniform = rand([1, 3, size, size], {
      generator: new Generator(info.seed, info.image_stream + size),
    });
    const pixels = (await uniform.data()) as Float32Array;
    noGrad(() => {
      const x = tensor(pixels.map((u) => u * 2 - 1), uniform.shape);
      const { pool, spatial } = model.forward(x, note);
      note("spatial", spatial);
      note("logits", model.logitsWithoutBias(pool));
    });
  }
  const stages = Object.keys(info.stages).filter((name) => name.startsWith(`${size}/`));
  assertEquals(new Set(reads.map(([name]) => `${size}/${name}`)), new Set(stages));
  for (const [name, shape, read] of reads) {
    const { shape: expected, step, norm } = info.stages[`${size}/${name}`]!;
    assertEquals([...shape], expected, name);
    const all = await read;
    const some = Array.from({ length: Math.ceil(all.length / step) }, (_, i) => all[i * step]!);
    assertScaled(name, some, golden.floats(`${size}/${name}`), 1e-4);
    const got = Math.sqrt(Array.from(all).reduce((sum, v) => sum + v * v, 0));
    const off = absoluteError([got / norm], [1]);
    if (!(off <= 1e-5)) throw new Error(`${name}: norm ${got}, expected ${norm}`);
  }
}

const FILES = [INFO, VALUES];

goldenOnDevices(
  "Inception is pytorch-fid's, part by part, at 299x299",
  FILES,
  () => compare(299),
  ["wasm", "gpu"],
);
// the smallest size that it takes: a software adapter has a second for a billion operations
goldenOnDevices(
  "Inception is pytorch-fid's, part by part, at 75x75",
  FILES,
  () => compare(75),
  ["webgpu"],
);
