/**
 * Image files as pixels, decoded by sharp (libvips). It needs `--allow-read --allow-env
 * --allow-ffi`.
 */
import type { PictureShape } from "./dataset.ts";
import { DamagedImageError, DataError, messageOf } from "./errors.ts";
import type { Picture } from "./picture.ts";

/** A variable, so that only those who decode images download the decoders. */
const PACKAGE = "npm:sharp@0.34.5";

/** The part of sharp that is used here; its own types would be fetched to check any of ours. */
interface Sharp {
  (
    bytes: Uint8Array,
    options: { failOn: "error"; ignoreIcc: boolean; limitInputPixels: number },
  ): SharpImage;
  cache(files: boolean): void;
  concurrency(threads: number): void;
}

interface SharpImage {
  autoOrient(): SharpImage;
  toColourspace(name: "srgb"): SharpImage;
  removeAlpha(): SharpImage;
  flatten(options: { background: string }): SharpImage;
  raw(options: { depth: "uchar" }): SharpImage;
  toBuffer(
    options: { resolveWithObject: true },
  ): Promise<{ data: Uint8Array<ArrayBuffer>; info: PictureShape }>;
}

/**
 * Pixels of an image at most, which are 512 MiB as RGB: where Pillow, and so the original, refuses
 * one for a decompression bomb (twice its MAX_IMAGE_PIXELS).
 */
const MAX_PIXELS = 2 * Math.floor(2 ** 30 / 4 / 3);

let sharp: Promise<Sharp> | undefined;

async function loadSharp(): Promise<Sharp> {
  try {
    const { default: loaded } = await import(PACKAGE) as { default: Sharp };
    loaded.cache(false); // no file is read twice
    loaded.concurrency(1); // many images at once, not many threads an image
    return loaded;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    throw new DataError(
      `decoding images needs the package ${PACKAGE}, which could not be loaded ` +
        `(${messageOf(error)}). Connect to the npm registry once, and allow what it needs: ` +
        "--allow-read --allow-env --allow-ffi",
      { cause: error },
    );
  }
}

/** How images are decoded. */
export interface DecodeOptions {
  /** A colour behind transparent images, such as "white"; by default transparency is dropped. */
  readonly background?: string;
}

/**
 * Decodes a JPEG, PNG, WebP or GIF to RGB, as the original sees it (`convert("RGB")` of Pillow):
 * transparency is dropped, gray becomes three equal channels, palettes are looked up, colour
 * profiles are ignored, and of an animation the first frame counts. Beyond the original, 16-bit
 * channels keep their upper 8 bits, and pictures are turned upright where a camera noted how.
 *
 * @throws {DamagedImageError} If it is no image, a damaged one, or one of more than 178,956,970
 * pixels, which its header alone may claim.
 * @throws {DataError} If sharp is not to be had.
 */
export async function decodeImage(
  bytes: Uint8Array,
  { background }: DecodeOptions = {},
): Promise<Picture> {
  const load = await (sharp ??= loadSharp());
  if (bytes.length === 0) throw new DamagedImageError("the file is empty");
  try {
    const upright = load(bytes, { failOn: "error", ignoreIcc: true, limitInputPixels: MAX_PIXELS })
      .autoOrient()
      .toColourspace("srgb");
    const opaque = background === undefined
      ? upright.removeAlpha()
      : upright.flatten({ background });
    const { data, info } = await opaque
      .raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
    const { channels, height, width } = info;
    // A small buffer of Node's may be part of a larger one, and is copied; a photograph's is not.
    const { buffer } = data;
    const pixels = new Uint8Array(buffer.byteLength === data.length ? buffer : data);
    return { pixels, channels, height, width };
  } catch (error) {
    throw new DamagedImageError(messageOf(error), { cause: error });
  }
}
