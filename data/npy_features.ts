/**
 * Latents in the original's layout (extract_features.py of fast-DiT): for each image one file
 * `imagenet256_features/N.npy` of a sampled latent, `[1, 4, 32, 32]`, already multiplied by the
 * scaling factor, and one `imagenet256_labels/N.npy` of its class, `[1]`.
 */
import { hostTensor, loadNpy, saveNpy, toFloat32, toInt32 } from "@dit/core/io";
import { join } from "@std/path";
import { checkRead, type Dataset, type Examples, type ReadOptions } from "./dataset.ts";
import { DataError } from "./errors.ts";

/** What the original's files do not tell. */
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
   * @throws {DataError} If there are no such folders, a file lacks its partner, or a label makes no
   * sense.
   */
  static async open(folder: string, options: NpyFeaturesOptions = {}): Promise<NpyFeatures> {
    const { features, labels: labelFolder } = await findFolders(folder);
    const names = await pair(features, labelFolder);
    const labels = new Int32Array(names.length);
    await eachOf(names, async (name, i) => {
      const path = join(labelFolder, name);
      const label = toInt32(await loadNpy(path));
      if (label.length !== 1 || label[0]! < 0) {
        throw new DataError(`${path}: expected one label of 0 or more but found [${label}]`);
      }
      labels[i] = label[0]!;
    });
    const most = labels.reduce((a, b) => Math.max(a, b));
    const numClasses = options.classNames?.length ?? options.numClasses ?? most + 1;
    if (most >= numClasses) {
      throw new DataError(
        `${labelFolder}: expected labels in [0, ${numClasses}) but found ${most}`,
      );
    }
    const paths = names.map((name) => join(features, name));
    const { shape } = await loadNpy(paths[0]!);
    if (shape.length !== 4 || shape[0] !== 1) {
      throw new DataError(`${paths[0]}: expected an array [1, C, H, W] but found [${shape}]`);
    }
    const { classNames = Array.from({ length: numClasses }, (_, i) => String(i)) } = options;
    return new NpyFeatures(paths, labels, classNames, shape.slice(1));
  }

  /** Reads latents, which were sampled and multiplied when they were made. */
  async read(indices: readonly number[], options: ReadOptions = {}): Promise<Examples> {
    checkRead(this, indices, options);
    const length = this.channels * this.height * this.width;
    const images = new Float32Array(indices.length * length);
    const shape = [1, this.channels, this.height, this.width].join(", ");
    await eachOf(indices, async (index, i) => {
      const path = this.#paths[index]!;
      const array = await loadNpy(path);
      if (array.shape.join(", ") !== shape) {
        throw new DataError(
          `${path}: expected [${shape}], as the others are, but found [${array.shape.join(", ")}]`,
        );
      }
      images.set(toFloat32(array), i * length);
    });
    const labels = Int32Array.from(indices, (index) => this.labels[index]!);
    return { images, shape: [indices.length, this.channels, this.height, this.width], labels };
  }
}

/** Whether a folder has features in the original's layout; a class may be called `..._features`. */
export async function hasNpyFeatures(folder: string): Promise<boolean> {
  for (const name of await featureNames(folder)) {
    for await (const file of Deno.readDir(join(folder, `${name}_features`))) {
      if (file.name.endsWith(".npy")) return true;
    }
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
  const names: string[] = [];
  for await (const { name, isFile } of Deno.readDir(folder)) {
    if (!isFile && name.endsWith("_features")) names.push(name.slice(0, -"_features".length));
  }
  return names;
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
  const names = new Set<string>();
  try {
    for await (const { name } of Deno.readDir(folder)) {
      if (name.endsWith(".npy")) names.add(name);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new DataError(`${folder}: the folder is missing`);
  }
  return names;
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
