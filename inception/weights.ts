/** Weights of Inception-v3 as PyTorch's files have them: batch normalisation beside convolutions. */
import { StateDictError } from "../nn/mod.ts";
import {
  type HostTensor,
  shapeText,
  type TensorInfo,
  type TensorSource,
  toFloat32,
} from "../tensor/mod.ts";
import { INCEPTION_CLASSES, POOL_WIDTH } from "./inception.ts";

/** Added to variances by batch normalisation, as in the TensorFlow graph. */
const EPS = 1e-3;

/** What a file has of each batch normalisation. */
const NORM = ["weight", "bias", "running_mean", "running_var"] as const;

/**
 * Weights of pytorch-fid's file as `InceptionV3` takes them: each batch normalisation folded
 * into the convolution before it, w' = w gamma / sqrt(var + eps), b' = beta - mean gamma / sqrt(var
 * + eps), computed in float64. Read as they are asked for.
 *
 * @param source Names as torchvision has them, `Mixed_5b.branch1x1.conv.weight` and `.bn.*`.
 * @throws {StateDictError} where it is another network, saying which where that is known.
 */
export function foldedInception(source: TensorSource): TensorSource {
  checkInception(source);
  const units = source.keys().filter((key) => key.endsWith(".conv.weight"))
    .map((key) => key.slice(0, -".conv.weight".length))
    .filter((unit) => !unit.startsWith("AuxLogits"));
  const keys = units.flatMap((unit) => [`${unit}.conv.weight`, `${unit}.conv.bias`]);
  keys.push("fc.weight", "fc.bias");
  const unitOf = (key: string) => key.replace(/\.conv\.(weight|bias)$/, "");
  const info = (key: string): TensorInfo => {
    if (key.startsWith("fc.")) return source.info(key);
    const { shape } = source.info(`${unitOf(key)}.conv.weight`);
    return { dtype: "f32", shape: key.endsWith(".bias") ? [shape[0]!] : shape };
  };
  const read = async (key: string): Promise<HostTensor> => {
    if (key.startsWith("fc.")) return await source.read(key);
    const unit = unitOf(key);
    const norm = await Promise.all(
      NORM.map(async (name) => toFloat32(await source.read(`${unit}.bn.${name}`))),
    );
    const [gamma, beta, mean, variance] = norm as [
      Float32Array,
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    const factors = Float64Array.from(gamma, (g, i) => g / Math.sqrt(variance[i]! + EPS));
    const data = key.endsWith(".bias")
      ? Float32Array.from(beta, (b, i) => b - mean[i]! * factors[i]!)
      : scaled(toFloat32(await source.read(key)), factors);
    return { ...info(key), data: new Uint8Array(data.buffer) };
  };
  return {
    name: source.name,
    keys: () => keys,
    has: (key) => keys.includes(key),
    info,
    read,
    async readInto(key, target, start = 0) {
      target.set((await read(key)).data.subarray(start, start + target.byteLength));
    },
  };
}

/** Each of the equally long rows of `weights` times its factor. */
function scaled(weights: Float32Array, factors: Float64Array): Float32Array<ArrayBuffer> {
  const length = weights.length / factors.length;
  return Float32Array.from(weights, (w, i) => w * factors[Math.floor(i / length)]!);
}

/** Throws where tensors are missing, or are those of another network. */
function checkInception(source: TensorSource): void {
  const refuse = (got: string) => {
    throw new StateDictError(
      `${source.name}: expected the Inception-v3 of 2015 as the pytorch-fid release has it ` +
        `(pt_inception-2015-12-05-6726825d.pth) but got ${got}`,
    );
  };
  const has = (key: string) => source.has(key);
  if (!has("Conv2d_1a_3x3.conv.weight") || !has("fc.weight")) {
    const some = source.keys().slice(0, 3).join(", ");
    return refuse(`another network, of ${source.keys().length} tensors (${some}, ...)`);
  }
  const classes = source.info("fc.weight").shape;
  if (classes[0] === 1000 && classes[1] === POOL_WIDTH) {
    return refuse("torchvision's, of 1,000 classes, which was trained otherwise");
  }
  if (classes[0] !== INCEPTION_CLASSES || classes[1] !== POOL_WIDTH) {
    return refuse(`one with classes of ${shapeText(classes)}`);
  }
  for (const key of source.keys()) {
    if (!key.endsWith(".conv.weight") || key.startsWith("AuxLogits")) continue;
    const unit = key.slice(0, -".conv.weight".length);
    const channels = source.info(key).shape[0]!;
    for (const name of NORM) {
      const norm = `${unit}.bn.${name}`;
      if (!has(norm)) return refuse(`one without ${norm}`);
      const { shape } = source.info(norm);
      if (shape.length !== 1 || shape[0] !== channels) {
        return refuse(`${norm} of ${shapeText(shape)} beside ${channels} channels`);
      }
    }
  }
}
