/** A PNG encoder (ISO/IEC 15948), so that sampling needs nothing that is not part of Deno. */
import { crc32 } from "@dit/core/io";

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
