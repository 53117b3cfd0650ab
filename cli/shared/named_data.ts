/**
 * Data that `--data` knows by name: one row each, which the help, the defaults, the rights of the
 * command and its opening of the data read. `launch.ts` reads it too, so this file loads nothing.
 */
import type { CropStoreOptions, Dataset } from "@dit/data";

/**
 * Flags of `deno task train` by name, with the values that they have where these data are asked for
 * by name and the flag is left out, such as `{ "model": "DiT-XS/8", "rope": true, "steps": 5000 }`.
 */
export type Recipe = Readonly<Record<string, string | number | boolean>>;

/** How named data are opened. */
export interface OpenOptions {
  /** Where their files are; by default they are fetched, once. */
  readonly folder?: string | undefined;
  /** Side of an example in pixels, of those that are drawn at any. */
  readonly size?: number | undefined;
  /** Threads that draw. */
  readonly workers?: number;
  /** Where examples that were drawn are kept for later processes; nowhere by default. */
  readonly keep?: CropStoreOptions;
  /** Called with the number of examples drawn, and of how many. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Data with a name. */
export interface NamedData {
  /** What they are, for the help of `--data`. */
  readonly help: string;
  /** Side of an example in pixels, of those that are fetched. */
  readonly imageSize: number;
  /** Whether they are drawn at any size, which `imageSize` is by default. */
  readonly hasAnySize?: boolean;
  /** Whether they are read from a folder only; fetched by their name as well by default. */
  readonly isFolderOnly?: boolean;
  /** Whether mirrored examples mean the same. */
  readonly flip: boolean;
  /** Whether reading them needs native code. */
  readonly native: boolean;
  /** What trains them well; {@linkcode USUAL_RECIPE} by default. */
  readonly recipe?: Recipe;
  /** The name of a file that shows that a folder holds these data, where they come as files too. */
  readonly files?: RegExp;
  /** Opens them. */
  open(options: OpenOptions): Promise<Dataset>;
}

/** What trains pixels well that no other recipe is known for: docs/recipes.md. */
export const USUAL_RECIPE: Recipe = {
  "model": "DiT-Mini/4",
  "norm": "rmsNorm",
  "mlp": "swiglu",
  "rope": true,
  "global-batch-size": 32,
  "lr": 2e-3,
  "steps": 2400,
  "ckpt-every": 600,
  "sample-every": 600,
};

/** Named data; everything else is a folder. */
export const NAMED_DATA: Readonly<Record<string, NamedData>> = {
  "mnist": {
    help: "60,000 handwritten digits",
    imageSize: 32,
    flip: false, // mirrored digits are others, or none
    native: false,
    recipe: {
      ...USUAL_RECIPE,
      "sample-sampler": "dpm++",
      "sample-steps": 10,
      "cfg-scale": 1.5,
    },
    files: /^(.*-)?train-images-idx3-ubyte(\.gz)?$/, // Fashion-MNIST's and others' are called so too
    async open({ folder }) {
      const { loadMnist } = await import("@dit/data");
      return await loadMnist(folder === undefined ? {} : { folder });
    },
  },
  "emoji": {
    help: "7,677 emoji in four styles, drawn at any size",
    imageSize: 64,
    hasAnySize: true,
    flip: false, // mirrored letters and flags are others
    native: true, // sharp draws them
    // 3.6 million parameters, which train in three quarters of an hour on two cores
    recipe: {
      "model": "DiT-XS/8",
      "hidden-size": 192,
      "depth": 5,
      "num-heads": 6,
      "norm": "rmsNorm",
      "mlp": "swiglu",
      "rope": true,
      "process": "flow",
      "objective": "xstart",
      "timestep-sampler": "logit-normal",
      // samples end before times that training hardly sees; logits have a mean of 0.2 - ln 4
      "time-shift": 4,
      "time-mean": 0.2,
      "time-scale": 1,
      "global-batch-size": 16,
      "lr": 2e-3,
      "schedule": "cosine",
      "balance": true,
      "ema-decay": 0.9995,
      "steps": 15000,
      "ckpt-every": 2000,
      "sample-every": 2000,
      "sample-sampler": "dpm++",
      "sample-steps": 12,
      "cfg-scale": 3,
      "final-samples": 10,
    },
    async open(options) {
      const { loadEmoji } = await import("@dit/data");
      return await loadEmoji(options);
    },
  },
  "cifar10": {
    help: "CIFAR-10's binary batches",
    imageSize: 32,
    isFolderOnly: true,
    flip: true,
    native: true, // any folder is granted it
    files: /^data_batch_1\.bin$/,
    async open({ folder }) {
      const { loadCifar10 } = await import("@dit/data");
      return await loadCifar10({ folder: folder! });
    },
  },
};

/** What is special about data, if anything is: undefined for a folder. */
export function namedData(data: string): NamedData | undefined {
  return FETCHED_DATA.includes(data) ? NAMED_DATA[data] : undefined;
}

/** Data that can be asked for by name. */
export const FETCHED_DATA: readonly string[] = Object.keys(NAMED_DATA)
  .filter((name) => !NAMED_DATA[name]!.isFolderOnly);

/** What may be given, such as "mnist, emoji or a folder". */
export function namesOr(otherwise: string): string {
  return `${FETCHED_DATA.join(", ")} or ${otherwise}`;
}
