/**
 * The nearest pictures of another set, by how pictures look: the distance of their pixels at a size of
 * sixteen. Features of a classifier put all pictures of a class close together.
 */
import type { ImageSize } from "../shared/sample_archive.ts";
import type { FeatureSet } from "./features.ts";
import { type Pictures, reduced, reducedSize } from "./pictures.ts";
import { squaredNorms } from "./precision_recall.ts";
import { blockCount, type ProductBlock, productBlocks } from "./products.ts";

/** Side in pixels at which pictures are compared. */
const SIDE = 16;
/** Nearest pictures that are kept of each. */
export const NEIGHBOURS = 10;

/** The nearest pictures of another set. */
export interface Neighbours {
  /** Numbers in that set, the nearest first. */
  readonly indices: readonly number[];
  /** Root of the mean squared difference of pixels in [0, 1]: from 0 for the same to 1. */
  readonly distances: readonly number[];
}

/** What is searched. */
export interface Search {
  /** Whether pictures are compared mirrored as well, because training saw them so. */
  readonly mirrored: boolean;
  /** Of each query, the number of the picture that is itself, and is passed over. */
  readonly themselves?: readonly number[];
  /** Called with how much of the work is done. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * The nearest pictures of `reference` to each of `queries`, {@linkcode NEIGHBOURS} or as many as there
 * are. Candidates are found by products on the device; their distances are exact.
 */
export async function findNearest(
  queries: Pictures,
  reference: Pictures,
  { mirrored, themselves, onProgress = () => {} }: Search,
): Promise<Neighbours[]> {
  const [own, other] = [comparable(queries), comparable(reference)];
  const ways = mirrored ? [own, flipped(own)] : [own];
  const candidates = Array.from({ length: own.count }, () => new Nearest(NEIGHBOURS + 1));
  const rows = asFeatures(other);
  const lengths = squaredNorms(rows);
  const total = ways.length * blockCount(own.count, other.count);
  let done = 0;
  for (const way of ways) {
    for await (const block of productBlocks(asFeatures(way), rows)) {
      offerBlock(block, lengths, candidates, themselves);
      onProgress(++done, total);
    }
  }
  return candidates.map(({ indices }, query) => exactly(ways, query, other, indices));
}

/**
 * Offers the pictures of a block to each query that has none as near, with their squared distances
 * less the squared length of the query, which is the same for all.
 */
function offerBlock(
  { row, rows, column, columns, products }: ProductBlock,
  lengths: Float64Array,
  candidates: readonly Nearest[],
  themselves?: readonly number[],
): void {
  for (let query = row, at = 0; query < row + rows; query++) {
    const nearest = candidates[query]!;
    for (let picture = column; picture < column + columns; picture++) {
      const squared = lengths[picture]! - 2 * products[at++]!; // |a - b|² = |a|² + |b|² - 2 a·b
      if (squared >= nearest.limit || themselves?.[query] === picture) continue;
      nearest.offer(picture, squared);
    }
  }
}

/** Pictures as they are compared. */
interface Comparable {
  readonly count: number;
  readonly size: ImageSize;
  /** [N, H, W, C] */
  readonly pixels: Uint8Array<ArrayBuffer>;
  /** Numbers of a picture. */
  readonly width: number;
}

function comparable({ count, size, pixels }: Pictures): Comparable {
  const small = reducedSize(size, SIDE);
  const width = small[0] * small[1] * small[2];
  return { count, size: small, pixels: reduced(pixels, size, SIDE), width };
}

function flipped({ count, size, pixels, width }: Comparable): Comparable {
  const [height, columns, channels] = size;
  const out = new Uint8Array(pixels.length);
  for (let row = 0; row < count * height; row++) {
    for (let x = 0; x < columns; x++) {
      for (let c = 0; c < channels; c++) {
        out[(row * columns + x) * channels + c] =
          pixels[(row * columns + columns - 1 - x) * channels + c]!;
      }
    }
  }
  return { count, size, pixels: out, width };
}

/** Pixels around zero, so that products lose little. */
function asFeatures({ count, width, pixels }: Comparable): FeatureSet {
  return { count, width, rows: Float32Array.from(pixels, (v) => v / 127.5 - 1) };
}

/** The nearest of what is offered. */
class Nearest {
  readonly #most: number;
  /** Squared distances, ascending, and whose they are. */
  readonly #squared: number[] = [];
  readonly indices: number[] = [];
  /** What is not nearer than this is none of them. */
  limit = Infinity;

  constructor(most: number) {
    this.#most = most;
  }

  offer(index: number, squared: number): void {
    const { indices } = this;
    const kept = this.#squared;
    const before = indices.indexOf(index); // mirrored, it may have come already
    if (before >= 0) {
      if (kept[before]! <= squared) return;
      kept.splice(before, 1);
      indices.splice(before, 1);
    }
    let at = kept.length;
    while (at > 0 && kept[at - 1]! > squared) at--;
    kept.splice(at, 0, squared);
    indices.splice(at, 0, index);
    if (kept.length > this.#most) {
      kept.pop();
      indices.pop();
    }
    if (kept.length === this.#most) this.limit = kept.at(-1)!;
  }
}

/** Candidates with their exact distances, in order. */
function exactly(
  ways: readonly Comparable[],
  query: number,
  reference: Comparable,
  candidates: readonly number[],
): Neighbours {
  const { width } = reference;
  const all = candidates.map((index) => {
    const squares = ways.map(({ pixels }) => {
      let sum = 0;
      for (let i = 0; i < width; i++) {
        sum += (pixels[query * width + i]! - reference.pixels[index * width + i]!) ** 2;
      }
      return sum;
    });
    return { index, distance: Math.sqrt(Math.min(...squares) / width) / 255 };
  });
  all.sort((a, b) => a.distance - b.distance || a.index - b.index);
  const nearest = all.slice(0, NEIGHBOURS);
  return {
    indices: nearest.map(({ index }) => index),
    distances: nearest.map(({ distance }) => distance),
  };
}
