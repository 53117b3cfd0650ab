/**
 * What is known of a set of images once Inception has seen it, and the file that keeps it: an archive
 * with `mu`, `sigma`, `mu_s` and `sigma_s` as the ADM suite's references have them, and the features.
 */
import { createHash } from "node:crypto";
import { join } from "@std/path";
import { hostTensor, NpzFile, NpzWriter, toFloat32, toFloat64 } from "@dit/core/io";
import { CommandError } from "../shared/errors.ts";
import { exists } from "../shared/files.ts";
import type { FeatureSet } from "./features.ts";
import { type Gaussian, gaussianOf, GaussianSums } from "./frechet.ts";
import type { ImageSource } from "./image_source.ts";
import { InceptionScore } from "./inception_score.ts";
import type { InceptionExtractor, InceptionResult } from "./inception_extractor.ts";

/** What Inception makes of a set of images. */
export interface Measured {
  /** [N, 2048] */
  readonly pool: FeatureSet;
  /** Of `pool`; null of fewer than two images. */
  readonly gaussian: Gaussian | null;
  /** Of the spatial features. */
  readonly spatial: Gaussian | null;
  readonly inceptionScore: number;
}

/** How images are passed through the network. */
export interface MeasureOptions {
  /** Images at a time. */
  readonly batchSize: number;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Passes images through the network once, keeping their features and no image. */
export async function measure(
  source: ImageSource,
  extractor: InceptionExtractor,
  { batchSize, onProgress = () => {} }: MeasureOptions,
): Promise<Measured> {
  const { width } = extractor;
  const rows = new Float32Array(source.count * width); // at once: they can be half of all memory
  const score = new InceptionScore();
  let spatial: GaussianSums | undefined;
  let done = 0;
  const take = ({ pool, spatial: places, logits }: InceptionResult): void => {
    requireFinite(pool, source.name, done);
    rows.set(pool.rows, done * width);
    spatial ??= new GaussianSums(places.width);
    spatial.add(places);
    score.add(logits.rows, logits.width);
    onProgress(done += pool.count, source.count);
  };
  // sums take a CPU as long as a network takes a GPU: the next batch is begun before them
  let before: Promise<InceptionResult> | undefined;
  for await (const { count, pixels } of source.batches(batchSize)) {
    if (count === 0) continue;
    const next = extractor.extractAll(pixels, [count, ...source.size]);
    next.catch(() => {}); // it is awaited later, unless the one before fails
    if (before) take(await before);
    before = next;
  }
  if (before) take(await before);
  const pool = { count: done, width, rows: rows.subarray(0, done * width) };
  const enough = pool.count >= 2;
  return {
    pool,
    gaussian: enough ? gaussianOf(pool) : null,
    spatial: enough ? spatial!.gaussian() : null,
    inceptionScore: score.value(),
  };
}

function requireFinite({ rows, width }: FeatureSet, name: string, first: number): void {
  const at = rows.findIndex((x) => !Number.isFinite(x));
  if (at < 0) return;
  throw new CommandError(
    `${name}: expected numbers as features of image ${first + Math.floor(at / width)} but got ` +
      `${rows[at]}; without --half numbers cannot become as large`,
  );
}

/** Far more features than any network here has; their covariance has the square of it. */
const MOST_FEATURES = 16384;

/** Names the network that features are of, in a file of features. */
const EXTRACTOR = "extractor";
const SCORE = "inception_score";
/** Layout of the file: another number makes older files new work. */
const FORMAT = 1;

/** Where features of images are kept. */
export async function featuresPath(
  folder: string,
  source: ImageSource,
  extractor: string,
  onProgress: (done: number) => void,
): Promise<string> {
  const hash = createHash("sha256");
  hash.update(JSON.stringify([FORMAT, extractor, await source.digest(onProgress)]));
  return join(folder, `${hash.digest("hex").slice(0, 24)}.npz`);
}

/** Writes features. */
export async function saveMeasured(path: string, of: Measured, extractor: string): Promise<void> {
  await Deno.mkdir(join(path, ".."), { recursive: true });
  await using npz = await NpzWriter.create(path);
  const put = async (
    name: string,
    data: Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>,
    rowShape: number[],
  ) => {
    const rows = npz.begin(name, data instanceof Float32Array ? "f32" : "f64", rowShape);
    await rows.write(hostTensor(data).data);
    await rows.end();
  };
  for (const [end, gaussian] of [["", of.gaussian], ["_s", of.spatial]] as const) {
    if (gaussian === null) continue;
    await put(`mu${end}`, gaussian.mean, []);
    await put(`sigma${end}`, gaussian.covariance, [gaussian.mean.length]);
  }
  await put("pool", of.pool.rows, [of.pool.width]);
  await npz.text(EXTRACTOR, extractor);
  await npz.text(SCORE, String(of.inceptionScore));
  await npz.finish();
}

/** Reads features; null where there are none at `path`. */
export async function loadMeasured(path: string): Promise<Measured | null> {
  if (!await exists(path)) return null;
  using npz = await NpzFile.open(path);
  return await measuredOf(npz);
}

/**
 * The features that an open archive holds; null where it holds none.
 *
 * @throws {CommandError} where they are of other shapes, or no numbers.
 */
export async function measuredOf(npz: NpzFile): Promise<Measured | null> {
  if (!npz.has("pool") || !npz.texts.has(EXTRACTOR)) return null;
  const { shape } = npz.info("pool");
  const [count = 0, width = 0] = shape;
  if (shape.length !== 2 || width < 1 || width > MOST_FEATURES) {
    throw new CommandError(
      `${npz.name}: expected features [N, D] in pool but found [${shape.join(", ")}]`,
    );
  }
  const rows = toFloat32(await npz.read("pool"));
  requireFiniteIn(npz, "pool", rows);
  return {
    pool: { count, width, rows },
    gaussian: await gaussianIn(npz, "", count),
    spatial: await gaussianIn(npz, "_s", count),
    inceptionScore: Number(npz.texts.get(SCORE) ?? NaN),
  };
}

/** The network that an archive's features are of; undefined where it has none. */
export function extractorOf(npz: NpzFile): string | undefined {
  return npz.texts.get(EXTRACTOR);
}

/**
 * `mu` and `sigma` of an archive, or with `_s` at their end; null where it has none.
 *
 * @throws {CommandError} where they are of other shapes, or no numbers.
 */
export async function gaussianIn(
  npz: NpzFile,
  end: "" | "_s",
  count: number | null = null,
): Promise<Gaussian | null> {
  const [mu, sigma] = [`mu${end}`, `sigma${end}`];
  if (!npz.has(mu) || !npz.has(sigma)) return null;
  const [shape, square] = [npz.info(mu).shape, npz.info(sigma).shape];
  const [width = 0] = shape;
  const fits = shape.length === 1 && width >= 1 && width <= MOST_FEATURES && square.length === 2 &&
    square.every((d) => d === width);
  if (!fits) {
    throw new CommandError(
      `${npz.name}: expected ${mu} [D] and ${sigma} [D, D] but found [${shape.join(", ")}] and [${
        square.join(", ")
      }]`,
    );
  }
  const [mean, covariance] = [toFloat64(await npz.read(mu)), toFloat64(await npz.read(sigma))];
  requireFiniteIn(npz, mu, mean);
  requireFiniteIn(npz, sigma, covariance);
  return { count, mean, covariance };
}

/** Refuses what is no number in an array of an archive: no figure could be made of it. */
function requireFiniteIn(npz: NpzFile, key: string, values: Float32Array | Float64Array): void {
  const wrong = values.find((x) => !Number.isFinite(x));
  if (wrong === undefined) return;
  throw new CommandError(`${npz.name}: expected finite numbers in ${key} but found ${wrong}`);
}
