/**
 * Latents in the original's layout (extract_features.py of fast-DiT): for each image one file
 * `imagenet256_features/N.npy` of a sampled latent, `[1, 4, 32, 32]`, already multiplied by the
 * scaling factor, and one `imagenet256_labels/N.npy` of its class, `[1]`.
 */
import {
  FormatError,
  type HostTensor,
  hostTensor,
  loadNpy,
  saveNpy,
  toFloat32,
  toInt32,
} from "@dit/core/io";
import { join } from "@std/path";
import {
  checkRead,
  type Dataset,
  type Examples,
  type ReadOptions,
  requireFinite,
} from "./dataset.ts";
import { DataError, messageOf } from "./errors.ts";
import { listFolder } from "./folder.ts";

/** What the original's files do not say. */
export interface NpyFeaturesOptions {
  /** Classes there are; one more than the largest label by default. */
  readonly numClasses?: number;
  /** What each class is called, by its index; its number by default. */
  readonly classNames?: readonly string[];
}

/** Files read at once. */
const CONCURRENCY = 64;

/** A folder of features and labels as the original's `extract_features.py` leaves it. */
export class NpyFeatures implements Dataset {
  readonly size: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly classNames: readonly string[];
  readonly labels: Int32Array<ArrayBuffer>;
  readonly flippable = false;
  readonly #paths: readonly string[];

  private constructor(
    paths: readonly string[],
    labels: Int32Array<ArrayBuffer>,
    classNames: readonly string[],
    shape: readonly number[],
  ) {
    this.#paths = paths;
    this.size = paths.length;
    this.labels = labels;
    this.classNames = classNames;
    [this.channels, this.height, this.width] = shape as [number, number, number];
  }

  /**
   * Opens a folder that has `NAME_features` and `NAME_labels` in it. Files are paired by their
   * names and ordered by their numbers. All labels are read.
   *
   * @throws {DataError} If there are no such folders, a file lacks its partner, a label makes no sense,
   * or a latent is not square or of another shape than the first. What values it has shows when it
   * is read.
   */
  static async open(folder: string, options: NpyFeaturesOptions = {}): Promise<NpyFeatures> {
    const { features, labels: labelFolder } = await findFolders(folder);
    const names = await pair(features, labelFolder);
    const first = join(features, names[0]!);
    const { shape } = await load(first);
    if (shape.length !== 4 || shape[0] !== 1 || shape[2] !== shape[3] || shape.includes(0)) {
      throw new DataError(
        `${first}: expected a latent [1, C, S, S] but found [${shape.join(", ")}]`,
      );
    }
    const { size } = await Deno.stat(first);
    const labels = new Int32Array(names.length);
    await eachOf(names, async (name, i) => {
      const feature = join(features, name);
      // Most files of one shape have one size, which is much quicker to learn.
      if ((await Deno.stat(feature)).size !== size) await loadLatent(feature, shape);
      const path = join(labelFolder, name);
      labels[i] = await loadLabel(path);
    });
    const most = labels.reduce((a, b) => Math.max(a, b));
    if (most >= MAX_CLASSES) {
      const path = join(labelFolder, names[labels.indexOf(most)]!);
      throw new DataError(`${path}: expected a label below ${MAX_CLASSES} but found ${most}`);
    }
    const numClasses = options.classNames?.length ?? options.numClasses ?? most + 1;
    if (most >= numClasses) {
      throw new DataError(
        `${labelFolder}: expected labels in [0, ${numClasses}) but found ${most}`,
      );
    }
    const paths = names.map((name) => join(features, name));
    const { classNames = Array.from({ length: numClasses }, (_, i) => String(i)) } = options;
    return new NpyFeatures(paths, labels, classNames, shape.slice(1));
  }

  /**
   * Reads latents, which were sampled and multiplied when they were made.
   *
   * @throws {DataError} If a file has gone since, or has a value that is no finite number.
   */
  async read(indices: readonly number[], options: ReadOptions = {}): Promise<Examples> {
    checkRead(this, indices, options);
    const length = this.channels * this.height * this.width;
    const images = new Float32Array(indices.length * length);
    const shape = [1, this.channels, this.height, this.width];
    await eachOf(indices, async (index, i) => {
      const path = this.#paths[index]!;
      const latent = await loadLatent(path, shape);
      requireFinite(latent, path);
      images.set(latent, i * length);
    });
    const labels = Int32Array.from(indices, (index) => this.labels[index]!);
    return { images, shape: [indices.length, this.channels, this.height, this.width], labels };
  }
}

/** Labels beyond are no classes: a model has an embedding for each. */
const MAX_CLASSES = 2 ** 20;

/** An array of a file, which every error names. */
async function load(path: string): Promise<HostTensor> {
  try {
    return await loadNpy(path);
  } catch (error) {
    if (error instanceof FormatError) throw error; // it names the file
    throw new DataError(`${path}: could not be read: ${messageOf(error)}`, { cause: error });
  }
}

/** The class that a file of the original's labels holds. */
async function loadLabel(path: string): Promise<number> {
  const array = await load(path);
  let found: string;
  try {
    const label = toInt32(array);
    if (label.length === 1 && label[0]! >= 0) return label[0]!;
    found = `[${label}]`;
  } catch (error) {
    found = messageOf(error).replace(/^.* but got /, "");
  }
  throw new DataError(
    `${path}: expected one label, a whole number of 0 or more, but found ${found}`,
  );
}

async function loadLatent(path: string, shape: readonly number[]): Promise<Float32Array> {
  const array = await load(path);
  const [wanted, found] = [shape, array.shape].map((sizes) => `[${sizes.join(", ")}]`);
  if (found === wanted) return toFloat32(array);
  throw new DataError(`${path}: expected ${wanted}, as the first is, but found ${found}`);
}

/** Whether a folder has features in the original's layout; a class may be called `..._features`. */
export async function hasNpyFeatures(folder: string): Promise<boolean> {
  for (const name of await featureNames(folder)) {
    if ((await npyFiles(join(folder, `${name}_features`))).size > 0) return true;
  }
  return false;
}

/** A latent as the original stores it. */
export interface NpyFeature {
  /** Its files are `number.npy`. */
  readonly number: number;
  /** `[C, H, W]`, sampled and multiplied by the scaling factor. */
  readonly latent: Float32Array<ArrayBuffer>;
  /** `[C, H, W]` */
  readonly shape: readonly number[];
  /** Its class. */
  readonly label: number;
}

/**
 * Writes one latent in the original's layout.
 *
 * @param folder Where the two folders are, or will be.
 * @param imageSize Side of the images; part of the folders' names.
 */
export async function saveNpyFeature(
  folder: string,
  imageSize: number,
  { number, latent, shape, label }: NpyFeature,
): Promise<void> {
  const [features, labels] = ["features", "labels"].map((kind) => {
    return join(folder, `imagenet${imageSize}_${kind}`);
  }) as [string, string];
  await Deno.mkdir(features, { recursive: true });
  await Deno.mkdir(labels, { recursive: true });
  await saveNpy(join(labels, `${number}.npy`), hostTensor(BigInt64Array.of(BigInt(label))));
  await saveNpy(join(features, `${number}.npy`), hostTensor(latent, [1, ...shape]));
}

/** Names that have a folder `NAME_features`. */
async function featureNames(folder: string): Promise<string[]> {
  const { folders } = await listFolder(folder);
  return folders.filter((name) => name.endsWith("_features"))
    .map((name) => name.slice(0, -"_features".length));
}

async function findFolders(folder: string): Promise<{ features: string; labels: string }> {
  const names = await featureNames(folder);
  if (names.length !== 1) {
    throw new DataError(
      `${folder}: expected one folder NAME_features beside NAME_labels but found ` +
        (names.length === 0 ? "none" : names.map((name) => `${name}_features`).join(", ")),
    );
  }
  return {
    features: join(folder, `${names[0]}_features`),
    labels: join(folder, `${names[0]}_labels`),
  };
}

/** The names that both folders have, by number. */
async function pair(features: string, labels: string): Promise<string[]> {
  const [a, b] = [await npyFiles(features), await npyFiles(labels)];
  for (const [folder, has, wanted] of [[labels, b, a], [features, a, b]] as const) {
    const missing = [...wanted].find((name) => !has.has(name));
    if (missing !== undefined) throw new DataError(`${join(folder, missing)}: the file is missing`);
  }
  if (a.size === 0) throw new DataError(`${features}: expected .npy files but found none`);
  return [...a].sort((x, y) => parseInt(x) - parseInt(y) || (x < y ? -1 : 1));
}

async function npyFiles(folder: string): Promise<Set<string>> {
  const { files } = await listFolder(folder, { expected: "a folder of .npy files" });
  return new Set(files.filter((name) => name.endsWith(".npy")));
}

/** Runs `task` on every item, not all at once. */
async function eachOf<T>(
  items: readonly T[],
  task: (item: T, index: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let i = next++; i < items.length; i = next++) await task(items[i]!, i);
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
}
