/**
 * Writing features in the original's layout, so that the extraction can be continued: a file beside
 * the two folders records how they were made, which the original's files do not.
 */
import { FormatError } from "@dit/core/io";
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
import { fromRankZero } from "../../distributed/share.ts";
import type { World } from "../../distributed/world.ts";
import { CommandError, messageOf } from "../../shared/errors.ts";
import { exists, readJson, writeWhole } from "../../shared/files.ts";
import { batchesOf, encodeAll, type Encoding } from "./encode.ts";
import type { Filling } from "./filling.ts";

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

/** Opens a folder of features, or makes it, and shares what is left to make. Collective. */
export async function fillNpy(
  world: World,
  out: string,
  settings: LatentSettings,
  encoding: Encoding,
): Promise<Filling> {
  const done = await fromRankZero(world, async () => [...await openNpy(out, settings)]);
  const folder = new NpyFolder(out, settings, new Set(done));
  const { count } = settings;
  const missing = (batch: readonly number[]) => batch.filter((i) => folder.lacks(i)).length;
  // whole batches, also where an image of one is there: see Encoding
  const left = batchesOf(0, count, encoding.batchSize).filter((batch) => missing(batch) > 0);
  const batches = left.filter((_, place) => place % world.size === world.rank);
  return {
    doneBefore: count - left.reduce((sum, batch) => sum + missing(batch), 0),
    total: count,
    steps: steps(folder, batches, batches.map(missing), encoding),
    async finish(whole) {
      if (!whole) return "";
      await world.barrier();
      return await fromRankZero(world, async () => {
        const { size } = await NpyFeatures.open(out).catch((error) => {
          if (!(error instanceof FormatError || error instanceof DataError)) throw error;
          throw new CommandError(
            `${
              messageOf(error)
            }; remove the file where it is damaged, and start the same command ` +
              "again",
            { cause: error },
          );
        });
        return `${size.toLocaleString("en")} latents`;
      });
    },
  };
}

async function* steps(
  folder: NpyFolder,
  batches: readonly (readonly number[])[],
  missing: readonly number[],
  encoding: Encoding,
): AsyncGenerator<number> {
  const encoded = encodeAll(encoding, batches, (index) => folder.lacks(index));
  for (const count of missing) {
    await folder.write((await encoded.next()).value!);
    yield count;
  }
}

/**
 * Notes in a folder how its features are made; gives the numbers of those that are there.
 *
 * @throws {DataError} where they were made in another way.
 */
async function openNpy(folder: string, settings: LatentSettings): Promise<Set<number>> {
  const before = await npySettings(folder);
  if (before) requireSame(folder, before, settings);
  await Deno.mkdir(folder, { recursive: true });
  const text = JSON.stringify({ format: FORMAT, settings }, null, 2) + "\n";
  await writeWhole(join(folder, RECORD), text);
  return await numbersIn(folder, settings.imageSize);
}

/** A folder of one `.npy` file an image, as far as it is filled. */
class NpyFolder {
  readonly #folder: string;
  readonly #settings: LatentSettings;
  readonly #done: ReadonlySet<number>;

  constructor(folder: string, settings: LatentSettings, done: ReadonlySet<number>) {
    this.#folder = folder;
    this.#settings = settings;
    this.#done = done;
  }

  /** Whether features of an image, or of its mirror image, are not there yet. */
  lacks(index: number): boolean {
    const { count, flips } = this.#settings;
    return !this.#done.has(index) || flips && !this.#done.has(count + index);
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
