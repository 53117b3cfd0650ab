/**
 * CIFAR-10 (Krizhevsky, 2009: 50,000 colour images to train on and 10,000 to test with) from a folder
 * of its "binary version", the files of which anybody can make for images of their own.
 */
import { FormatError } from "@dit/core/io";
import { join } from "@std/path";
import { ImageArray } from "./dataset.ts";
import { DataError } from "./errors.ts";
import { exists, listFolder } from "./folder.ts";

/** Which images, and where they are. */
export interface Cifar10Options {
  /** Images to train on (the default), or to test with. */
  readonly split?: "train" | "test";
  /** A folder with `data_batch_1.bin` and so on, `test_batch.bin`, and `batches.meta.txt`. */
  readonly folder: string;
}

const SIDE = 32;
const PLANE = SIDE * SIDE;
/** A byte for the class, then red, green and blue, each row by row. */
const RECORD = 1 + 3 * PLANE;

/** Names of the files of a split. */
const FILES = { train: /^data_batch_\d+\.bin$/, test: /^test_batch\.bin$/ } as const;

/** Classes where the folder does not name them. */
const CLASSES = [
  "airplane",
  "automobile",
  "bird",
  "cat",
  "deer",
  "dog",
  "frog",
  "horse",
  "ship",
  "truck",
];

/**
 * Reads CIFAR-10: `[3, 32, 32]`.
 *
 * @throws {DataError} If the files are not there.
 * @throws {FormatError} If a file is cut short, or has a class without a name.
 */
export async function loadCifar10(
  { split = "train", folder }: Cifar10Options,
): Promise<ImageArray> {
  const { files } = await listFolder(folder);
  const names = files.filter((name) => FILES[split].test(name)).sort();
  if (names.length === 0) {
    const wanted = split === "train" ? "data_batch_1.bin and so on" : "test_batch.bin";
    throw new DataError(`${folder}: expected ${wanted} but found none`);
  }
  const classNames = await classesOf(folder);
  const batches = await Promise.all(names.map((name) => readBatch(join(folder, name))));
  const count = batches.reduce((sum, { length }) => sum + length / RECORD, 0);
  const pixels = new Uint8Array(count * 3 * PLANE);
  const labels = new Int32Array(count);
  let at = 0;
  for (const [k, batch] of batches.entries()) {
    for (let start = 0; start < batch.length; start += RECORD, at++) {
      const label = labels[at] = batch[start]!;
      if (label >= classNames.length) {
        throw new FormatError(
          join(folder, names[k]!),
          `byte ${start}`,
          `a class below ${classNames.length}, the number of classes with a name,`,
          `${label}`,
        );
      }
      for (let i = 0; i < 3 * PLANE; i++) { // planes to pixels
        pixels[(at * PLANE + i % PLANE) * 3 + Math.floor(i / PLANE)] = batch[start + 1 + i]!;
      }
    }
  }
  return new ImageArray({ pixels, labels, classNames, channels: 3, height: SIDE, width: SIDE });
}

async function readBatch(path: string): Promise<Uint8Array> {
  const bytes = await Deno.readFile(path);
  if (bytes.length > 0 && bytes.length % RECORD === 0) return bytes;
  throw new FormatError(
    path,
    "its end",
    `whole images of ${RECORD} bytes`,
    `${bytes.length} bytes`,
  );
}

async function classesOf(folder: string): Promise<readonly string[]> {
  const path = join(folder, "batches.meta.txt");
  if (!await exists(path)) return CLASSES;
  const lines = (await Deno.readTextFile(path)).split("\n").map((line) => line.trim());
  return lines.filter((line) => line !== "");
}
