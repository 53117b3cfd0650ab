/** What a DiT can be, and what it can be given. */
import {
  checkOptionNames,
  DTypeError,
  IndexError,
  isFloat,
  ShapeError,
  shapeText,
  Tensor,
} from "../tensor/mod.ts";

/** What makes a model another one than the paper's DiT with adaLN-Zero, which it is by default. */
export interface DiTSwitches {
  /** Normalisation of tokens: layer norm as in the paper, or RMSNorm (arXiv 1910.07467). */
  norm?: "layerNorm" | "rmsNorm";
  /** MLP of blocks: with tanh GELU as in the paper, or SwiGLU (arXiv 2002.05202) of as many weights. */
  mlp?: "gelu" | "swiglu";
  /** Whether attention turns queries and keys by the places of their tokens (RoPE); false. */
  rope?: boolean;
  /** Whether queries and keys are normalised, a head at a time, which keeps scores small; false. */
  qkNorm?: boolean;
  /**
   * How blocks are told the time and the class, as section 3.2 of the paper names them: adaptive
   * layer norm with gates that start at 0, the paper's choice; without gates; two tokens more; or
   * attention to two tokens.
   */
  conditioning?: "adaLN-Zero" | "adaLN" | "inContext" | "crossAttention";
  /**
   * Numbers that a patch goes through on its way to a token, by two linear layers without anything
   * between; 0, one layer, by default. For large patches of pixels, of which few are free (arXiv
   * 2511.13720: 32 to 128).
   */
  bottleneck?: number;
  /**
   * Blocks after which a second head predicts the same, for internal guidance (arXiv 2512.24176: a
   * third of them); 0, no such head, by default.
   */
  earlyHead?: number;
}

/** Shape of a model; the defaults are those of DiT-XL/2 on 256x256 images. */
export interface DiTOptions extends DiTSwitches {
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

/** Options of which none is left out but switches, as checkpoints have them. */
export type DiTShape = Required<Omit<DiTOptions, keyof DiTSwitches>> & DiTSwitches;

/** What the options that name a choice can be. */
export const DIT_CHOICES = {
  norm: ["layerNorm", "rmsNorm"],
  mlp: ["gelu", "swiglu"],
  conditioning: ["adaLN-Zero", "adaLN", "inContext", "crossAttention"],
} as const satisfies { [K in "norm" | "mlp" | "conditioning"]: readonly DiTOptions[K][] };

/** What options are where they are left out: those of DiT-XL/2. */
export const DIT_DEFAULTS: Readonly<Required<DiTOptions>> = {
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
  norm: "layerNorm",
  mlp: "gelu",
  rope: false,
  qkNorm: false,
  conditioning: "adaLN-Zero",
  bottleneck: 0,
  earlyHead: 0,
};

/**
 * Fills in the defaults and checks what was given.
 *
 * @throws {TypeError} where there is no such option.
 * @throws {ShapeError} where sizes do not fit each other.
 */
export function checkedOptions(options: DiTOptions): Required<DiTOptions> {
  checkOptionNames("DiT", options, DIT_DEFAULTS);
  const config = { ...DIT_DEFAULTS, ...options };
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
  for (const [name, choices] of Object.entries(DIT_CHOICES)) {
    const value = config[name as keyof typeof DIT_CHOICES];
    if ((choices as readonly string[]).includes(value)) continue;
    throw new RangeError(`DiT: expected ${name} ${choices.join(" or ")} but got ${value}`);
  }
  if (!Number.isInteger(config.bottleneck) || config.bottleneck < 0) {
    throw new ShapeError(`DiT: expected a bottleneck of 0 or more but got ${config.bottleneck}`);
  }
  const { earlyHead } = config;
  if (!Number.isInteger(earlyHead) || earlyHead < 0 || earlyHead >= depth) {
    throw new RangeError(
      `DiT: expected an earlyHead after 1 to ${
        depth - 1
      } of ${depth} blocks, or 0 for none, but got ` +
        earlyHead,
    );
  }
  if (config.rope && hiddenSize / numHeads % 4 !== 0) {
    throw new ShapeError(
      `DiT: expected heads of a multiple of 4 with rope but got a hiddenSize of ${hiddenSize} and ` +
        `${numHeads} heads`,
    );
  }
  return config;
}

/** The names of switches. */
export const DIT_SWITCHES = [
  "norm",
  "mlp",
  "rope",
  "qkNorm",
  "conditioning",
  "bottleneck",
  "earlyHead",
] as const;

/**
 * Which options make a model another one than the original's, such as `norm rmsNorm`: what no other
 * program's layout has.
 */
export function switchesOf(options: DiTSwitches): string[] {
  return DIT_SWITCHES.flatMap((name) => {
    const { [name]: value = DIT_DEFAULTS[name] } = options;
    return value === DIT_DEFAULTS[name] ? [] : [`${name} ${value}`];
  });
}

/**
 * Refuses what does not fit the model, before any work is done.
 *
 * @throws {TypeError | ShapeError | DTypeError | IndexError}
 */
export function checkInputs(
  options: Required<DiTOptions>,
  x: Tensor,
  t: Tensor,
  y: Tensor,
): void {
  const { inChannels, inputSize, numClasses } = options;
  for (const [name, given] of [["latents", x], ["timesteps", t], ["labels", y]] as const) {
    if (given instanceof Tensor) continue;
    // labels that are forgotten compile, since processes hand on what modelKwargs has
    const remedy = name === "labels" ? ": give forward() y, or a process modelKwargs { y }" : "";
    throw new TypeError(`DiT: expected a tensor of ${name} but got ${given}${remedy}`);
  }
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
