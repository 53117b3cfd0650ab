/** Labelled pictures in memory, reduced to a size at which tens of thousands can be compared. */
import { Generator } from "@dit/core/tensor";
import { CommandError } from "../shared/errors.ts";
import type { ImageSize } from "../shared/sample_archive.ts";

/** Pictures with the class of each. */
export interface Pictures {
  readonly count: number;
  /** Of each, as held here. */
  readonly size: ImageSize;
  /** [N, H, W, C] */
  readonly pixels: Uint8Array<ArrayBuffer>;
  /** [N] */
  readonly labels: Int32Array<ArrayBuffer>;
}

/** Longest side of a picture that is held. */
export const LONGEST_SIDE = 64;

/** The share of each class that a classifier is not trained on: one in so many. */
const HELD_OUT = 10;

/** The stream that tells which pictures are held out, of any seed that training may use. */
const HOLD_OUT_STREAM = 11;

/** The size of pictures once reduced so that no side is longer than `longest`. */
export function reducedSize([height, width, channels]: ImageSize, longest: number): ImageSize {
  const factor = Math.ceil(Math.max(height, width) / longest);
  return [Math.ceil(height / factor), Math.ceil(width / factor), channels];
}

/**
 * Pictures reduced by the least whole factor so that no side is longer than `longest`: means of
 * boxes, of which those at the lower and right edge may be smaller. The same array where they are
 * small already.
 *
 * @param pixels [N, H, W, C]
 * @param size [H, W, C]
 */
export function reduced(
  pixels: Uint8Array<ArrayBuffer>,
  size: ImageSize,
  longest: number,
): Uint8Array<ArrayBuffer> {
  const [height, width, channels] = size;
  const factor = Math.ceil(Math.max(height, width) / longest);
  if (factor <= 1) return pixels;
  const [rows, columns] = reducedSize(size, longest);
  const count = pixels.length / (height * width * channels);
  const out = new Uint8Array(count * rows * columns * channels);
  let at = 0;
  for (let n = 0; n < count; n++) {
    for (let y = 0; y < rows; y++) {
      const bottom = Math.min(height, (y + 1) * factor);
      for (let x = 0; x < columns; x++) {
        const right = Math.min(width, (x + 1) * factor);
        const area = (bottom - y * factor) * (right - x * factor);
        for (let c = 0; c < channels; c++) {
          let sum = 0;
          for (let row = y * factor; row < bottom; row++) {
            const line = (n * height + row) * width;
            for (let column = x * factor; column < right; column++) {
              sum += pixels[(line + column) * channels + c]!;
            }
          }
          out[at++] = Math.round(sum / area);
        }
      }
    }
  }
  return out;
}

/** Some of a set of pictures, in the order of `indices`. */
export function chosen({ size, pixels, labels }: Pictures, indices: ArrayLike<number>): Pictures {
  const bytes = size[0] * size[1] * size[2];
  const count = indices.length;
  const out = new Uint8Array(count * bytes);
  const classes = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const index = indices[i]!;
    out.set(pixels.subarray(index * bytes, (index + 1) * bytes), i * bytes);
    classes[i] = labels[index]!;
  }
  return { count, size, pixels: out, labels: classes };
}

/** `count` whole numbers below `total` at most, evenly spread, in ascending order. */
export function evenly(total: number, count: number): number[] {
  if (count >= total) return Array.from({ length: total }, (_, i) => i);
  return Array.from({ length: count }, (_, i) => Math.floor((i + 0.5) * total / count));
}

/**
 * Numbers of about `count` pictures, as many of each class (all of one that has fewer, and two at
 * least), evenly spread over each and in ascending order; all pictures where there are no more.
 *
 * @param labels [N]
 */
export function evenlyOfEach(
  labels: Int32Array<ArrayBuffer>,
  numClasses: number,
  count: number,
): number[] {
  if (count >= labels.length) return evenly(labels.length, count);
  const ofClass = Array.from({ length: numClasses }, (): number[] => []);
  labels.forEach((label, i) => ofClass[label]!.push(i));
  const each = Math.max(2, Math.floor(count / numClasses));
  return ofClass
    .flatMap((own) => evenly(own.length, each).map((i) => own[i]!))
    .sort((a, b) => a - b);
}

/** Which pictures a classifier is trained on, and which it is tried on. Ascending. */
export interface Division {
  readonly training: readonly number[];
  readonly heldOut: readonly number[];
}

/**
 * Holds a tenth of each class out, and one picture at least of a class that has two. The same
 * pictures for the same labels.
 *
 * @param labels [N]
 * @param name Where the pictures are from, for the message.
 * @throws {CommandError} where a class has one picture only, or none.
 */
export function divide(
  labels: Int32Array<ArrayBuffer>,
  classNames: readonly string[],
  name: string,
): Division {
  const ofClass = classNames.map((): number[] => []);
  labels.forEach((label, i) => ofClass[label]!.push(i));
  const heldOut = new Set<number>();
  const generator = new Generator(0, HOLD_OUT_STREAM);
  for (const [label, indices] of ofClass.entries()) {
    if (indices.length < 2) {
      throw new CommandError(
        `${name}: expected two pictures or more of each class, one to learn from and one to try ` +
          `the classifier on, but class ${label} (${classNames[label]}) has ${indices.length}`,
      );
    }
    const order = generator.permutation(indices.length);
    const count = Math.max(1, Math.round(indices.length / HELD_OUT));
    for (let i = 0; i < count; i++) heldOut.add(indices[order[i]!]!);
  }
  const all = Array.from(labels.keys());
  return {
    training: all.filter((i) => !heldOut.has(i)),
    heldOut: all.filter((i) => heldOut.has(i)),
  };
}
