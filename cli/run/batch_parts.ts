/** Gradient accumulation: dividing a batch into parts that fit in memory. */
import { type Tensor, tensor } from "@dit/core/tensor";
import type { Examples } from "@dit/data";

/** A part of a batch, on the device. */
export interface BatchPart {
  /** Examples in it. */
  readonly count: number;
  /** `[n, C, H, W]` */
  readonly images: Tensor;
  /** `[n]` */
  readonly labels: Tensor;
}

/**
 * Equal parts of a batch, each moved to the device when its turn comes.
 *
 * @throws {RangeError} If the batch does not divide into so many parts.
 */
export function* splitBatch(
  { images, shape: [batchSize, ...imageShape], labels }: Examples,
  parts: number,
): Iterable<BatchPart> {
  const count = batchSize / parts;
  if (!Number.isInteger(count) || count === 0) {
    throw new RangeError(`expected ${parts} equal parts but got a batch of ${batchSize} images`);
  }
  const size = images.length / parts;
  for (let i = 0; i < parts; i++) {
    yield {
      count,
      images: tensor(images.subarray(i * size, (i + 1) * size), [count, ...imageShape]),
      labels: tensor(labels.subarray(i * count, (i + 1) * count), [count], { dtype: "i32" }),
    };
  }
}
