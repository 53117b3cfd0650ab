/** Data that a run has open, and how they look to its model. */
import type { LatentConfig } from "@dit/core/pipeline";
import type { Generator, Tensor } from "@dit/core/tensor";
import { DataError, type Dataset } from "@dit/data";

/** Makes what the model sees of a batch, on the device: the images themselves, or their latents. */
export type ModelInput = (images: Tensor, generator: Generator) => Tensor;

/** How the data look to a model. */
export interface DataShape {
  /** Where they come from. */
  readonly kind: "named" | "images" | "features";
  /** Of what the model sees: pixels or latents. */
  readonly channels: number;
  /** Side of what the model sees. */
  readonly side: number;
  /** Side of the images. */
  readonly imageSize: number;
  /** By index. */
  readonly classNames: readonly string[];
  /** How what the model sees was made of images; null where it is the images. */
  readonly latents: LatentConfig | null;
}

/** Data that are open. */
export interface TrainData extends AsyncDisposable {
  /** The examples. */
  readonly dataset: Dataset;
  /** How they look to the model. */
  readonly shape: DataShape;
  /** Such as "60,000 images of 1x32x32 in 10 classes". */
  readonly text: string;
  /** Makes latents of images; undefined where the model sees the examples themselves. */
  readonly input: ModelInput | undefined;
}

/**
 * Data as the model sees them.
 *
 * @throws {DataError} where they are not square.
 */
export function opened(
  kind: DataShape["kind"],
  dataset: Dataset & Partial<AsyncDisposable>,
  imageSize = dataset.height,
): TrainData {
  const { size, channels, height: side, classNames } = dataset;
  if (dataset.width !== side) {
    throw new DataError(
      `expected square examples but found ${channels}x${side}x${dataset.width}, which no model takes`,
    );
  }
  const classes = `${classNames.length} class${classNames.length === 1 ? "" : "es"}`;
  return {
    dataset,
    shape: { kind, channels, side, imageSize, classNames, latents: null },
    text: `${size.toLocaleString("en")} images of ${channels}x${side}x${side} in ${classes}`,
    input: undefined,
    [Symbol.asyncDispose]: async () => await dataset[Symbol.asyncDispose]?.(),
  };
}
