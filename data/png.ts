/**
 * PNG files (ISO/IEC 15948) of 8 bits a channel, written and read back, so that sampling needs
 * nothing that is not part of Deno.
 */
import { crc32 } from "@dit/core/io";
import type { ByteImage } from "./byte_image.ts";
import { DamagedImageError } from "./errors.ts";

/** First bytes of every PNG file. */
const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);

/** The format's number for what a pixel is made of, by how many values that takes. */
const COLOR_TYPES: Readonly<Record<number, number>> = { 1: 0, 2: 4, 3: 2, 4: 6 };

/**
 * An image as a PNG file of 8 bits a channel.
 *
 * @param pixels `[H, W, C]`
 * @param channels 1 for gray, 3 for RGB; 2 and 4 for the same with alpha behind.
 * @throws {RangeError} If the numbers do not fit each other.
 */
export async function encodePng(
  pixels: Uint8Array,
  width: number,
  height: number,
  channels: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const colorType = COLOR_TYPES[channels];
  if (
    colorType === undefined || !(width > 0 && height > 0) ||
    pixels.length !== width * height * channels
  ) {
    throw new RangeError(
      `encodePng: expected an image of 1 to 4 channels but got ${width} x ${height} x ` +
        `${channels} in ${pixels.length} bytes`,
    );
  }
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, colorType], 8); // bits a channel; then deflate, adaptive filters, not interlaced
  const rows = new Blob([filterRows(pixels, width * channels, channels)]).stream();
  const packed = await new Response(rows.pipeThrough(new CompressionStream("deflate"))).bytes();
  const parts = [SIGNATURE, chunk("IHDR", header), chunk("IDAT", packed), chunk("IEND")];
  return await new Blob(parts).bytes();
}

/** Length, type, data and the checksum of type and data. */
function chunk(type: string, data = new Uint8Array(0)): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(12 + data.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, data.length);
  out.set(new TextEncoder().encode(type), 4);
  out.set(data, 8);
  view.setUint32(8 + data.length, crc32(out.subarray(4, 8 + data.length)));
  return out;
}

/** Filters as the format numbers them: what is taken off each byte. */
const FILTERS = [
  () => 0,
  (left: number) => left,
  (_left: number, above: number) => above,
] as const;

/**
 * Each row with the number of its filter before it: the one whose differences are smallest in sum,
 * which is the format's own advice. (The other two filters save photographs a few percent more.)
 */
function filterRows(
  pixels: Uint8Array,
  rowBytes: number,
  channels: number,
): Uint8Array<ArrayBuffer> {
  const height = pixels.length / rowBytes;
  const out = new Uint8Array(height * (1 + rowBytes));
  const tried = FILTERS.map(() => new Uint8Array(rowBytes));
  let above = new Uint8Array(rowBytes);
  for (let y = 0; y < height; y++) {
    const row = pixels.slice(y * rowBytes, (y + 1) * rowBytes);
    const sums = FILTERS.map((filter, type) => {
      const line = tried[type]!;
      let sum = 0;
      for (let i = 0; i < rowBytes; i++) {
        line[i] = row[i]! - filter(i < channels ? 0 : row[i - channels]!, above[i]!);
        sum += Math.min(line[i]!, 256 - line[i]!);
      }
      return sum;
    });
    const best = sums.indexOf(Math.min(...sums));
    out[y * (1 + rowBytes)] = best;
    out.set(tried[best]!, y * (1 + rowBytes) + 1);
    above = row;
  }
  return out;
}

/**
 * Reads a file of {@linkcode encodePng}, or another of 8 bits a channel that is not interlaced and
 * has no palette.
 *
 * @throws {DamagedImageError} If it is anything else, is cut short, or a checksum is wrong.
 */
export async function decodePng(file: Uint8Array<ArrayBuffer>): Promise<ByteImage> {
  const chunks = chunksOf(file);
  const header = chunks.find(({ type }) => type === "IHDR")?.data;
  if (header?.length !== 13) throw new DamagedImageError("expected a PNG file with a header");
  const view = new DataView(header.buffer, header.byteOffset);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  const [bits, colorType, , , interlaced] = header.subarray(8);
  const channels = Number(Object.entries(COLOR_TYPES).find(([, type]) => type === colorType)?.[0]);
  if (bits !== 8 || Number.isNaN(channels) || interlaced !== 0 || width * height === 0) {
    throw new DamagedImageError(
      `expected a PNG file of 8 bits a channel, without a palette and not interlaced, but got ` +
        `${bits} bits, colour type ${colorType}, ${width} x ${height}`,
    );
  }
  const packed = new Blob(chunks.filter(({ type }) => type === "IDAT").map(({ data }) => data));
  const rows = packed.stream().pipeThrough(new DecompressionStream("deflate"));
  let filtered: Uint8Array;
  try {
    filtered = await new Response(rows).bytes();
  } catch (error) {
    throw new DamagedImageError("expected deflated pixels but found other bytes", { cause: error });
  }
  const rowBytes = width * channels;
  if (filtered.length !== height * (1 + rowBytes)) {
    throw new DamagedImageError(
      `expected ${height} rows of ${1 + rowBytes} bytes but got ${filtered.length} bytes`,
    );
  }
  return { pixels: unfilterRows(filtered, rowBytes, channels), width, height, channels };
}

/** Every chunk with its checksum compared, up to the last. */
function chunksOf(
  file: Uint8Array<ArrayBuffer>,
): { type: string; data: Uint8Array<ArrayBuffer> }[] {
  if (SIGNATURE.some((byte, i) => file[i] !== byte)) {
    throw new DamagedImageError("expected a PNG file but found other bytes");
  }
  const chunks: { type: string; data: Uint8Array<ArrayBuffer> }[] = [];
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let at = SIGNATURE.length;
  while (chunks.at(-1)?.type !== "IEND") {
    const length = at + 12 <= file.length ? view.getUint32(at) : Infinity;
    const end = at + 8 + length;
    if (end + 4 > file.length) throw new DamagedImageError("the PNG file is cut short");
    if (crc32(file.subarray(at + 4, end)) !== view.getUint32(end)) {
      throw new DamagedImageError("a checksum of the PNG file is wrong");
    }
    const type = new TextDecoder("latin1").decode(file.subarray(at + 4, at + 8));
    chunks.push({ type, data: file.subarray(at + 8, end) });
    at = end + 4;
  }
  return chunks;
}

/** What each filter predicts of a byte, by its number in the format. */
const PREDICTIONS = [
  () => 0,
  (left: number) => left,
  (_left: number, above: number) => above,
  (left: number, above: number) => (left + above) >> 1,
  (left: number, above: number, corner: number) => {
    const [a, b, c] = [left, above, corner].map((x) => Math.abs(left + above - corner - x)) as [
      number,
      number,
      number,
    ];
    return a <= b && a <= c ? left : b <= c ? above : corner;
  },
] as const;

function unfilterRows(
  filtered: Uint8Array,
  rowBytes: number,
  channels: number,
): Uint8Array<ArrayBuffer> {
  const height = filtered.length / (1 + rowBytes);
  const out = new Uint8Array(height * rowBytes);
  for (let y = 0; y < height; y++) {
    const from = y * (1 + rowBytes);
    const predict = PREDICTIONS[filtered[from]!];
    if (!predict) throw new DamagedImageError(`expected filter 0 to 4 but got ${filtered[from]}`);
    const [row, above] = [y * rowBytes, (y - 1) * rowBytes];
    for (let i = 0; i < rowBytes; i++) {
      const left = i < channels ? 0 : out[row + i - channels]!;
      const up = y === 0 ? 0 : out[above + i]!;
      const corner = y === 0 || i < channels ? 0 : out[above + i - channels]!;
      out[row + i] = filtered[from + 1 + i]! + predict(left, up, corner);
    }
  }
  return out;
}
