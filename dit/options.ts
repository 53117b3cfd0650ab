/** What a DiT can be, and what it can be given. */
import {
  checkOptionNames,
  DTypeError,
  IndexError,
  isFloat,
  ShapeError,
  shapeText,
  type Tensor,
} from "../tensor/mod.ts";

/** Shape of a model; the defaults are those of DiT-XL/2 on 256x256 images. */
export interface DiTOptions {
  /** Width and height of the latents, S: an eighth of the image's; 32. */
  inputSize?: number;
  /** Width and height of a patch, P; 2. */
  patchSize?: number;
  /** Channels of the latents, C; 4. */
  inChannels?: number;
  /** Width of a token, D; 1152. */
  hiddenSize?: number;
  /** Number of blocks; 28. */
  depth?: number;
  /** Attention heads; 16. */
  numHeads?: number;
  /** Width of the MLP's hidden layer over that of a token; 4. */
  mlpRatio?: number;
  /**
   * Probability that a label is dropped while training; 0.1. Where it is 0 there is no null class,
   * and no guidance without one.
   */
  classDropoutProb?: number;
  /** Number of classes; 1000. */
  numClasses?: number;
  /** Whether the output has C more channels, for the variance; true. */
  learnSigma?: boolean;
}

const DEFAULTS: Required<DiTOptions> = {
  inputSize: 32,
  patchSize: 2,
  inChannels: 4,
  hiddenSize: 1152,
  depth: 28,
  numHeads: 16,
  mlpRatio: 4,
  classDropoutProb: 0.1,
  numClasses: 1000,
  learnSigma: true,
};

/**
 * Fills in the defaults and checks what was given.
 *
 * @throws {TypeError} where there is no such option.
 * @throws {ShapeError} where sizes do not fit each other.
 */
export function checkedOptions(options: DiTOptions): Required<DiTOptions> {
  checkOptionNames("DiT", options, DEFAULTS);
  const config = { ...DEFAULTS, ...options };
  const { inputSize, patchSize, hiddenSize, numHeads, mlpRatio, classDropoutProb } = config;
  const { inChannels, depth, numClasses } = config;
  const counts = { inputSize, patchSize, inChannels, hiddenSize, depth, numHeads, numClasses };
  for (const [name, value] of Object.entries(counts)) {
    if (!Number.isInteger(value) || value < 1) {
      throw new ShapeError(`DiT: expected ${name} to be 1 or more but got ${value}`);
    }
  }
  if (inputSize % patchSize !== 0) {
    throw new ShapeError(
      `DiT: expected an inputSize that is a multiple of the patchSize but got ${inputSize} and ${patchSize}`,
    );
  }
  if (hiddenSize % numHeads !== 0 || hiddenSize % 4 !== 0) {
    throw new ShapeError(
      `DiT: expected a hiddenSize that is a multiple of 4 and of numHeads but got ${hiddenSize} and ${numHeads}`,
    );
  }
  if (!(mlpRatio > 0) || Math.floor(hiddenSize * mlpRatio) < 1) {
    throw new RangeError(`DiT: expected an mlpRatio above 0 but got ${mlpRatio}`);
  }
  if (!(classDropoutProb >= 0 && classDropoutProb <= 1)) {
    throw new RangeError(
      `DiT: expected a classDropoutProb in [0, 1] but got ${classDropoutProb}`,
    );
  }
  return config;
}

/**
 * Refuses what does not fit the model, before any work is done.
 *
 * @throws {ShapeError | DTypeError | IndexError}
 */
export function checkInputs(
  options: Required<DiTOptions>,
  x: Tensor,
  t: Tensor,
  y: Tensor,
): void {
  const { inChannels, inputSize, numClasses } = options;
  const hasNull = options.classDropoutProb > 0;
  const highest = hasNull ? numClasses : numClasses - 1;
  const [n, c, h, w] = x.shape;
  if (x.rank !== 4 || c !== inChannels || h !== inputSize || w !== inputSize) {
    throw new ShapeError(
      `DiT: expected latents [N, ${inChannels}, ${inputSize}, ${inputSize}] but got ${
        shapeText(x.shape)
      }`,
    );
  }
  const isMixture = y.rank === 2;
  if (isMixture && (y.shape[0] !== n || y.shape[1] !== highest + 1)) {
    throw new ShapeError(
      `DiT: expected weights of classes [${n}, ${highest + 1}] but got ${shapeText(y.shape)}`,
    );
  }
  for (const [name, given] of [["timesteps", t], ["labels", y]] as const) {
    if (given === y && isMixture) continue;
    if (given.rank !== 1 || given.shape[0] !== n) {
      throw new ShapeError(
        `DiT: expected ${name} [${n}], one a sample, but got ${shapeText(given.shape)}`,
      );
    }
  }
  if (!isFloat(x.dtype) || isFloat(y.dtype) !== isMixture || y.dtype === "u8") {
    const labels = isMixture ? "weights of classes of f32 or f16" : "labels of i32 or u32";
    throw new DTypeError(
      `DiT: expected latents of f32 or f16 and ${labels} but got ${x.dtype} and ${y.dtype}`,
    );
  }
  const times = knownRange(t);
  if (times && times.min < 0) {
    throw new IndexError(`DiT: expected timesteps of 0 or more but got ${times.min}`);
  }
  const labels = isMixture ? null : knownRange(y);
  if (labels && (labels.min < 0 || labels.max > highest)) {
    const nullClass = hasNull ? "and the last one for none" : "without a null class";
    throw new IndexError(
      `DiT: expected labels from 0 to ${highest} (${numClasses} classes, ${nullClass}) but got ` +
        `some from ${labels.min} to ${labels.max}`,
    );
  }
}

/** Smallest and largest element, where the host knows without asking the device. */
function knownRange(t: Tensor): { min: number; max: number } | null {
  return t.size === t.storage.length ? t.storage.range : null;
}
