/** What a trained autoencoder leaves: pictures to look at, the scale of its latents, its weights. */
import { noGrad } from "@dit/core/autograd";
import { type SavableTensor, saveSafetensors } from "@dit/core/io";
import { Generator, scope, tensor } from "@dit/core/tensor";
import { type AutoencoderKL, vaeConfigOf } from "@dit/core/vae";
import { encodePng, type ImageFolder, makeGrid } from "@dit/data";
import { join } from "@std/path";
import { CommandError } from "../../shared/errors.ts";
import { writeWhole } from "../../shared/files.ts";
import { VAE_CONFIG_KEY } from "../../model/autoencoder.ts";
import { DIFFUSERS_FILE } from "../../model/catalog.ts";

/** Images that the scale of latents is measured on, at most. */
const MEASURED = 1024;
/** Columns of a grid, and pairs of rows: pictures above, what becomes of them below. */
const GRID = { columns: 8, pairs: 2 } as const;
/** Random stream of the latents that are measured. */
const MEASURE_STREAM = 2;

/** What latents are like. */
export interface LatentMeasure {
  /** Over all values of all latents. */
  readonly mean: number;
  /** Over all values of all latents, about their mean. */
  readonly std: number;
  /** Divergence from normal latents, in nats a value of a latent. */
  readonly kl: number;
  /** Mean square of the errors of reconstructions by the most likely latents, in [-1, 1]. */
  readonly squaredError: number;
  /** Images that were looked at. */
  readonly images: number;
}

/** `count` numbers below `size`, evenly apart. */
function evenly(size: number, count: number): number[] {
  const n = Math.min(size, count);
  return Array.from({ length: n }, (_, i) => Math.floor(i * size / n));
}

/**
 * Encodes images and says what their latents are like.
 *
 * @param model With the weights that are kept.
 */
export async function measureLatents(
  model: AutoencoderKL,
  images: ImageFolder,
  batchSize: number,
): Promise<LatentMeasure> {
  const indices = evenly(images.size, MEASURED);
  const generator = new Generator(0, MEASURE_STREAM);
  let [sum, squares, count, kl, off, pixels] = [0, 0, 0, 0, 0, 0];
  for (let first = 0; first < indices.length; first += batchSize) {
    const part = indices.slice(first, first + batchSize);
    const { images: values } = await images.read(part);
    using _ = scope("measure");
    const [z, each, y] = noGrad(() => {
      const posterior = model.encode(tensor(values, shapeOf(images, part.length)));
      return [posterior.sample({ generator }), posterior.kl(), model.decode(posterior.mode())];
    });
    for (const v of await z!.data()) [sum, squares, count] = [sum + v, squares + v * v, count + 1];
    for (const v of await each!.data()) kl += v;
    (await y!.data()).forEach((v, i) => off += (v - values[i]!) ** 2);
    pixels += values.length;
  }
  const mean = sum / count;
  const std = Math.sqrt(squares / count - mean * mean);
  return { mean, std, kl: kl / count, squaredError: off / pixels, images: indices.length };
}

/** Pictures and their reconstructions, a row of each in turn. */
export async function reconstructionGrid(
  model: AutoencoderKL,
  images: ImageFolder,
): Promise<Uint8Array<ArrayBuffer>> {
  const indices = evenly(images.size, GRID.columns * GRID.pairs);
  const rows: Float32Array[] = [];
  for (let first = 0; first < indices.length; first += GRID.columns) {
    const part = indices.slice(first, first + GRID.columns);
    const { images: values } = await images.read(part);
    using _ = scope("reconstructions");
    const y = noGrad(() => model.forward(tensor(values, shapeOf(images, part.length))));
    // A last row that is short is filled up with black, or the rows below would move up.
    const row = (from: ArrayLike<number>): Float32Array => {
      const out = new Float32Array(from.length / part.length * GRID.columns).fill(-1);
      out.set(from);
      return out;
    };
    rows.push(row(values), row(await y.data()));
  }
  const all = new Float32Array(rows.reduce((length, row) => length + row.length, 0));
  let at = 0;
  for (const row of rows) {
    all.set(row, at);
    at += row.length;
  }
  const grid = makeGrid(all, images, { columns: GRID.columns });
  return await encodePng(grid.pixels, grid.width, grid.height, grid.channels);
}

/**
 * Writes the weights as diffusers reads them. The file has its configuration in it as well, so that
 * it can be moved without `config.json`.
 *
 * @param state The weights that are kept, by diffusers' names.
 * @returns The path of the weights.
 */
export async function saveAutoencoder(
  folder: string,
  { options }: AutoencoderKL,
  state: ReadonlyMap<string, SavableTensor>,
  { std }: LatentMeasure,
): Promise<string> {
  if (!(std > 1e-6 && Number.isFinite(std))) {
    throw new CommandError(
      `expected latents that differ from each other but their deviation is ${std}: the ` +
        "autoencoder has learned nothing; take a lower --lr or --kl-weight, or more --steps",
    );
  }
  const config = vaeConfigOf({ ...options, scalingFactor: 1 / std });
  const path = join(folder, DIFFUSERS_FILE);
  await saveSafetensors(path, state, [["format", "pt"], [VAE_CONFIG_KEY, JSON.stringify(config)]]);
  await writeWhole(join(folder, "config.json"), JSON.stringify(config, null, 2) + "\n");
  return path;
}

function shapeOf({ channels, height, width }: ImageFolder, count: number): number[] {
  return [count, channels, height, width];
}
