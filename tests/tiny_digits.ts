/** A data set of a few pictures, written as MNIST's files are, so that commands start at once. */
import { numbers } from "./numbers.ts";

/** Side of a picture. */
const SIDE = 28;

/** Writes `count` noisy pictures, each with a bright bar whose place is its class of ten. */
export async function writeTinyDigits(folder: string, count: number): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  const next = numbers(count);
  const images = new Uint8Array(16 + count * SIDE * SIDE);
  const labels = new Uint8Array(8 + count);
  header(images, [count, SIDE, SIDE]);
  header(labels, [count]);
  for (let i = 0; i < count; i++) {
    const digit = labels[8 + i] = i % 10;
    for (let at = 0; at < SIDE * SIDE; at++) {
      const lit = Math.floor(at % SIDE / 2.8) === digit;
      images[16 + i * SIDE * SIDE + at] = (lit ? 200 : 0) + Math.floor(next() * 50);
    }
  }
  await Deno.writeFile(`${folder}/train-images-idx3-ubyte`, images);
  await Deno.writeFile(`${folder}/train-labels-idx1-ubyte`, labels);
}

/** Magic number and dimensions of an IDX file of bytes, big-endian. */
function header(bytes: Uint8Array, shape: readonly number[]): void {
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x800 + shape.length);
  shape.forEach((size, i) => view.setUint32(4 + 4 * i, size));
}
