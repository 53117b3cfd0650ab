/** Inception-v3 against torchvision's modules with pytorch-fid's changes, part by part. */
import { assertEquals } from "@std/assert";
import { noGrad } from "../autograd/mod.ts";
import { foldedInception, InceptionV3 } from "../inception/mod.ts";
import { loadWeights, withoutInit } from "../nn/mod.ts";
import {
  Generator,
  type HostTensor,
  rand,
  scope,
  sizeOf,
  type Tensor,
  tensor,
  type TensorSource,
} from "../tensor/mod.ts";
import { absoluteError } from "./devices.ts";
import { assertScaled, Golden, goldenJson, goldenOnDevices } from "./goldens.ts";

const INFO = "inception/inception.json";
const VALUES = "inception/network.safetensors";

interface Info {
  seed: number;
  image_stream: number;
  /** Names in the order of their streams. */
  parameters: string[];
  stages: Record<string, { shape: number[]; step: number; mean: number; norm: number }>;
}

/** The reference's weights, drawn again; shapes are those of the model, in PyTorch's layout. */
function drawnWeights({ seed, parameters }: Info, model: InceptionV3): TensorSource {
  const shapes = new Map([...model.namedTensors()].map(([name, t]) => [name, t.shape]));
  const shapeOf = (name: string) => {
    const unit = name.replace(/\.bn\.\w+$/, "");
    return shapes.get(name) ?? [shapes.get(`${unit}.conv.weight`)![0]!];
  };
  const read = async (name: string): Promise<HostTensor> => {
    const shape = shapeOf(name);
    using drawn = rand([sizeOf(shape)], {
      generator: new Generator(seed, parameters.indexOf(name)),
    });
    const u = Float32Array.from(await drawn.data());
    const bound = Math.fround(Math.sqrt(6 / (sizeOf(shape) / shape[0]!)));
    const value = /bn\.weight$|running_var$/.test(name)
      ? (x: number) => x + 0.5
      : shape.length === 1
      ? (x: number) => x * 0.4 - 0.2
      : (x: number) => (x * 2 - 1) * bound;
    return { dtype: "f32", shape, data: new Uint8Array(u.map(value).buffer) };
  };
  return {
    name: "(drawn)",
    keys: () => parameters,
    has: (name) => parameters.includes(name),
    info: (name) => ({ dtype: "f32", shape: shapeOf(name) }),
    read,
    readInto: async (name, target, start = 0) =>
      target.set((await read(name)).data.subarray(start, start + target.byteLength)),
  };
}

/** Compares every part of the network on one image of `size` pixels a side. */
async function compare(size: number): Promise<void> {
  const info = await goldenJson<Info>(INFO);
  const golden = await Golden.load(VALUES);
  using model = withoutInit(() => new InceptionV3());
  await loadWeights(model, foldedInception(drawnWeights(info, model)));
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
