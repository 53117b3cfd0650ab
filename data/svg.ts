/**
 * Drawings in SVG as pixels, by sharp (libvips and librsvg). Only for drawings that this project
 * names: one from a folder is a program, as large as it likes, and never opened.
 */
import { loadedSharp, pixelsOf } from "./decode.ts";
import { DataError, messageOf } from "./errors.ts";

/**
 * Draws an SVG on white.
 *
 * @param svg Whose `width` and `height` are `size`.
 * @returns `[size, size, 3]`
 * @throws {DataError} If it cannot be drawn, or sharp is not to be had.
 */
export async function drawSvg(svg: string, size: number): Promise<Uint8Array<ArrayBuffer>> {
  const load = await loadedSharp();
  const limits = { failOn: "error", ignoreIcc: true, limitInputPixels: 4 * size * size } as const;
  try {
    const image = load(new TextEncoder().encode(svg), limits).toColourspace("srgb");
    const { pixels, width, height } = await pixelsOf(image.flatten({ background: "white" }));
    if (width === size && height === size) return pixels;
    throw new DataError(`expected ${size}x${size} pixels but it has ${width}x${height}`);
  } catch (error) {
    throw new DataError(`a drawing: ${messageOf(error)}`, { cause: error });
  }
}
