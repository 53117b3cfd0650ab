/**
 * Writing features in the original's layout, so that the extraction can be continued: a file beside
 * the two folders records how they were made, which the original's files do not.
 */
import {
  checkSettings,
  DataError,
  hasNpyFeatures,
  type LatentBatch,
  type LatentSettings,
  listFolder,
  NpyFeatures,
  requireSame,
  saveNpyFeature,
} from "@dit/data";
import { join } from "@std/path";
import { exists, readJson, writeWhole } from "../../shared/files.ts";

const RECORD = "features.json";
const FORMAT = "dit-npy-features";

/**
 * How the features of a folder were made, where that is noted: not by the original, whose folders
 * may hold a file of that name by another program.
 *
 * @throws {DataError} where the note is damaged.
 */
export async function npyRecord(folder: string): Promise<LatentSettings | undefined> {
  const path = join(folder, RECORD);
  if (!await isRecord(path)) return undefined;
  const { settings } = await readJson(path);
  checkSettings(path, settings);
  return settings;
}

async function isRecord(path: string): Promise<boolean> {
  return await exists(path) && (await Deno.readTextFile(path)).includes(`"${FORMAT}"`);
}

/**
 * How the features of a folder that is to be filled were made; undefined where there are none.
 *
 * @throws {DataError} where there are features but nothing says how they were made, or the file that
 * would say it is another program's.
 */
export async function npySettings(folder: string): Promise<LatentSettings | undefined> {
  const path = join(folder, RECORD);
  if (await exists(path) && !await isRecord(path)) {
    throw new DataError(
      `${path}: expected settings of npy features but found another program's file`,
    );
  }
  const settings = await npyRecord(folder);
  if (settings === undefined && await exists(folder) && await hasNpyFeatures(folder)) {
    throw new DataError(
      `${folder}: expected a new folder, or one that extract-features began, but found features ` +
        `without ${RECORD}, which says how they were made; take another folder`,
    );
  }
  return settings;
}

/** A folder of one `.npy` file an image, as far as it is filled. */
export class NpyFolder {
  readonly #folder: string;
  readonly #settings: LatentSettings;
  readonly #done: ReadonlySet<number>;

  private constructor(folder: string, settings: LatentSettings, done: ReadonlySet<number>) {
    this.#folder = folder;
    this.#settings = settings;
    this.#done = done;
  }

  /**
   * Opens a folder, or makes it.
   *
   * @throws {DataError} where its features were made in another way.
   */
  static async open(folder: string, settings: LatentSettings): Promise<NpyFolder> {
    const before = await npySettings(folder);
    if (before) requireSame(folder, before, settings);
    await Deno.mkdir(folder, { recursive: true });
    const text = JSON.stringify({ format: FORMAT, settings }, null, 2) + "\n";
    await writeWhole(join(folder, RECORD), text);
    return new NpyFolder(folder, settings, await numbersIn(folder, settings.imageSize));
  }

  /** Images that have no features yet. */
  get remaining(): number[] {
    const { count, flips } = this.#settings;
    return Array.from({ length: count }, (_, i) => i)
      .filter((i) => !this.#done.has(i) || flips && !this.#done.has(count + i));
  }

  /** Writes what is not there yet. Image i is number i, mirrored it is number `count` + i. */
  async write({ indices, labels, parts }: LatentBatch): Promise<void> {
    const { latentShape: shape, scalingFactor, count, imageSize } = this.#settings;
    const size = shape.reduce((a, b) => a * b, 1);
    const sets = [[parts.sample, 0], [parts.sample_flipped, count]] as const;
    for (const [values, start] of sets) {
      if (values === undefined) continue;
      for (const [k, index] of indices.entries()) {
        const number = start + index;
        if (this.#done.has(number)) continue;
        const latent = values.slice(k * size, (k + 1) * size).map((x) => x * scalingFactor);
        if (!latent.every(Number.isFinite)) {
          throw new DataError(`image ${index}: expected latents that are finite numbers`);
        }
        await saveNpyFeature(this.#folder, imageSize, {
          number,
          latent,
          shape,
          label: labels[k]!,
        });
      }
    }
  }

  /** Opens what was written, which checks that it is complete; how many features there are. */
  async check(): Promise<number> {
    const { size } = await NpyFeatures.open(this.#folder);
    return size;
  }
}

/** The numbers whose two files are there. */
async function numbersIn(folder: string, imageSize: number): Promise<Set<number>> {
  const [features, labels] = await Promise.all(["features", "labels"].map(async (kind) => {
    const path = join(folder, `imagenet${imageSize}_${kind}`);
    return new Set(await exists(path) ? (await listFolder(path)).files : []);
  }));
  const both = features!.intersection(labels!);
  return new Set([...both].filter((name) => /^\d+\.npy$/.test(name)).map((name) => parseInt(name)));
}
