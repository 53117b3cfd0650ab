/** Weights of Inception-v3 drawn from Philox, in the layout of pytorch-fid's file. */
import { InceptionV3 } from "../inception/mod.ts";
import { withoutInit } from "../nn/mod.ts";
import { Generator, type HostTensor, rand, sizeOf, type TensorSource } from "../tensor/mod.ts";

/** Names of the file's tensors with their shapes, without counts of batches. */
export function inceptionShapes(): Map<string, readonly number[]> {
  using model = withoutInit(() => new InceptionV3());
  const shapes = new Map<string, readonly number[]>();
  for (const [name, { shape }] of model.namedTensors()) {
    if (!name.endsWith("conv.bias")) shapes.set(name, shape);
    else {
      for (const norm of ["weight", "bias", "running_mean", "running_var"]) {
        shapes.set(name.replace("conv.bias", `bn.${norm}`), shape);
      }
    }
  }
  return shapes;
}

/**
 * Weights as `tests/golden/inception/record.py` draws them: each tensor from the stream of its place
 * among the sorted names.
 */
export function drawnInception(seed: number): TensorSource {
  const shapes = inceptionShapes();
  const names = [...shapes.keys()].sort();
  const read = async (name: string): Promise<HostTensor> => {
    const shape = shapes.get(name)!;
    using drawn = rand([sizeOf(shape)], { generator: new Generator(seed, names.indexOf(name)) });
    const bound = Math.fround(Math.sqrt(6 / (sizeOf(shape) / shape[0]!)));
    const value = /bn\.weight$|running_var$/.test(name)
      ? (x: number) => x + 0.5
      : shape.length === 1
      ? (x: number) => x * 0.4 - 0.2
      : (x: number) => (x * 2 - 1) * bound;
    const data = Float32Array.from(await drawn.data(), value);
    return { dtype: "f32", shape, data: new Uint8Array(data.buffer) };
  };
  return {
    name: "(drawn)",
    keys: () => names,
    has: (name) => shapes.has(name),
    info: (name) => ({ dtype: "f32", shape: shapes.get(name)! }),
    read,
    readInto: async (name, target, start = 0) =>
      target.set((await read(name)).data.subarray(start, start + target.byteLength)),
  };
}
