/**
 * Inception-v3 of 2015, whose features FID, Inception Score, precision and recall are of.
 *
 * @module
 */
export {
  INCEPTION_CLASSES,
  INCEPTION_SIZE,
  type InceptionFeatures,
  InceptionV3,
  POOL_WIDTH,
  SMALLEST_INCEPTION_SIZE,
  SPATIAL_WIDTH,
} from "./inception.ts";
export { foldedInception } from "./weights.ts";
export { inceptionInput } from "./resize.ts";
