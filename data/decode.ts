/**
 * Image files as pixels, decoded by sharp (libvips). It needs `--allow-read --allow-env
 * --allow-ffi`.
 */
import type { ImageShape } from "./dataset.ts";
import { DamagedImageError, DataError, messageOf } from "./errors.ts";
import { withoutTransparency } from "./gif.ts";
import type { ByteImage } from "./byte_image.ts";

/** A variable, so that the decoders are downloaded only where images are decoded. */
export const DECODER = "npm:sharp@0.34.5";

/** The part of sharp that is used here; its own types would be fetched to check any of ours. */
export interface Sharp {
  (
    bytes: Uint8Array,
    options: { failOn: "error"; ignoreIcc: boolean; limitInputPixels: number },
  ): SharpImage;
  cache(files: boolean): void;
  concurrency(threads: number): void;
}

/** An image on its way through sharp. */
export interface SharpImage {
  metadata(): Promise<{ space?: string }>;
  pipelineColourspace(name: "cmyk"): SharpImage;
  autoOrient(): SharpImage;
  toColourspace(name: "srgb" | "cmyk"): SharpImage;
  removeAlpha(): SharpImage;
  flatten(options: { background: string }): SharpImage;
  raw(options: { depth: "uchar" }): SharpImage;
  toBuffer(
    options: { resolveWithObject: true },
  ): Promise<{ data: Uint8Array<ArrayBuffer>; info: ImageShape }>;
}

/**
 * Pixels of an image at most, which are 512 MiB as RGB: where Pillow, and so the original, refuses
 * one for a decompression bomb (twice its MAX_IMAGE_PIXELS).
 */
const MAX_PIXELS = 2 * Math.floor(2 ** 30 / 4 / 3);

let sharp: Promise<Sharp> | undefined;

/**
 * Sharp, loaded when it is first needed.
 *
 * @throws {DataError} If it is not to be had.
 */
export function loadedSharp(): Promise<Sharp> {
  return sharp ??= loadSharp();
}

async function loadSharp(): Promise<Sharp> {
  try {
    const { default: loaded } = await import(DECODER) as { default: Sharp };
    loaded.cache(false); // no file is read twice
    loaded.concurrency(1); // many images at once, not many threads an image
    return loaded;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    throw new DataError(
      `decoding images needs the package ${DECODER}, which could not be loaded ` +
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
 * transparency is dropped, gray becomes three equal channels, palettes are looked up, inks (CMYK)
 * are mixed, colour profiles are ignored, and of an animation the first frame counts. Otherwise than
 * the original, gray of 16 bits keeps its upper 8 (Pillow makes nearly all of it white), and images
 * are turned upright where a camera noted how.
 *
 * @throws {DamagedImageError} If it is no image, a damaged one, or one of more than 178,956,970
 * pixels, which its header alone may claim.
 * @throws {DataError} If sharp is not to be had.
 */
export async function decodeImage(
  bytes: Uint8Array,
  { background }: DecodeOptions = {},
): Promise<ByteImage> {
  const load = await loadedSharp();
  if (bytes.length === 0) throw new DamagedImageError("the file is empty");
  const format = formatOf(bytes);
  if (format === undefined) {
    const { foreignKindOf } = await import("@dit/core/io"); // here: workers start sooner without it
    const foreign = foreignKindOf(bytes);
    throw new DamagedImageError(
      "unsupported image format: expected JPEG, PNG, WebP or GIF" +
        (foreign === undefined ? "" : ` but found ${foreign}`),
    );
  }
  const file = format.start === GIF && background === undefined
    ? withoutTransparency(bytes)
    : bytes;
  const open = () =>
    load(file, { failOn: "error", ignoreIcc: true, limitInputPixels: MAX_PIXELS }).autoOrient();
  try {
    if (format.mayBeCmyk && (await open().metadata()).space === "cmyk") {
      // Named at both ends, so that no profile comes between.
      return fromCmyk(await pixelsOf(open().pipelineColourspace("cmyk").toColourspace("cmyk")));
    }
    const upright = open().toColourspace("srgb");
    return await pixelsOf(
      background === undefined ? upright.removeAlpha() : upright.flatten({ background }),
    );
  } catch (error) {
    throw new DamagedImageError(messageOf(error), { cause: error });
  }
}

/** A format that is read, by how its files begin. */
interface Format {
  /** Text at the beginning, each character a byte; "?" stands for any. */
  readonly start: string;
  /** Whether its pixels may be amounts of ink. */
  readonly mayBeCmyk?: boolean;
}

const GIF = "GIF8";

/**
 * Formats by their content: names are often wrong, and what the decoders take beyond images (SVG,
 * which is a program and as large as it likes) is no image to the original either.
 */
const FORMATS: readonly Format[] = [
  { start: "\xff\xd8\xff", mayBeCmyk: true }, // JPEG
  { start: "\x89PNG\r\n\x1a\n" },
  { start: "RIFF????WEBP" },
  { start: GIF },
  { start: "II*\0", mayBeCmyk: true }, // TIFF
  { start: "MM\0*", mayBeCmyk: true },
  { start: "????ftypavif" },
];

function formatOf(bytes: Uint8Array): Format | undefined {
  const isAt = (char: string, i: number) => char === "?" || bytes[i] === char.charCodeAt(0);
  return FORMATS.find(({ start }) => [...start].every(isAt));
}

/** Its pixels, as bytes of their own. */
export async function pixelsOf(image: SharpImage): Promise<ByteImage> {
  const { data, info } = await image.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
  const { channels, height, width } = info;
  // A small buffer of Node's may be part of a larger one, and is copied; a photograph's is not.
  const { buffer } = data;
  const pixels = new Uint8Array(buffer.byteLength === data.length ? buffer : data);
  return { pixels, channels, height, width };
}

/**
 * Amounts of cyan, magenta, yellow and black ink as RGB, as Pillow's `convert("RGB")` makes it
 * (`cmyk2rgb` of libImaging/Convert.c): (255 - ink) (255 - black) / 255, without a profile.
 */
function fromCmyk({ pixels, height, width }: ByteImage): ByteImage {
  const out = new Uint8Array(3 * width * height);
  for (let from = 0, to = 0; to < out.length; from += 4, to += 3) {
    const light = 255 - pixels[from + 3]!;
    for (let c = 0; c < 3; c++) {
      const product = pixels[from + c]! * light + 128;
      out[to + c] = Math.max(0, light - ((product >> 8) + product >> 8)); // product / 255, rounded
    }
  }
  return { pixels: out, channels: 3, height, width };
}
