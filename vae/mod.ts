/**
 * AutoencoderKL: images to latents and back.
 *
 * @module
 */
export * from "./autoencoder.ts";
export * from "./coders.ts";
export { type AutoencoderKLOptions, vaeConfigOf, vaeOptionsFromConfig } from "./config.ts";
export * from "./gaussian.ts";
export * from "./layers.ts";
