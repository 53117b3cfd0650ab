/** Dividing a batch, so that its gradients are added up from parts that memory has room for. */
import { type Shape, type Tensor, tensor } from "@dit/core/tensor";
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
 * @param shape `[C, H, W]` of an image.
 */
export function* splitBatch(
  { images, labels }: Examples,
  parts: number,
  shape: Shape,
): Iterable<BatchPart> {
  const count = labels.length / parts;
  const size = images.length / parts;
  for (let i = 0; i < parts; i++) {
    yield {
      count,
      images: tensor(images.subarray(i * size, (i + 1) * size), [count, ...shape]),
      labels: tensor(labels.subarray(i * count, (i + 1) * count), [count], { dtype: "i32" }),
    };
  }
}
