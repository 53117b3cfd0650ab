/**
 * Text in PNG files: iTXt chunks (ISO/IEC 15948, 11.3.4.5) put in and read out again. What the pixels
 * are is left to the canvas.
 */
import { crc32 } from "@dit/core/io";

/** First bytes of every PNG file. */
const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a] as const;

/** Length, type and checksum, which stand around a chunk's data. */
const FRAME = 12;

/** Bytes of text that are read at most; longer ones are not the page's. */
const MOST_TEXT = 1 << 20;

interface Chunk {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly data: Uint8Array;
}

/**
 * The file with texts by keyword, of Latin letters, in front of its pixels.
 *
 * @throws {Error} where `png` is no PNG file.
 */
export function withTexts(
  png: Uint8Array,
  texts: Readonly<Record<string, string>>,
): Uint8Array<ArrayBuffer> {
  const first = chunks(png).next().value;
  if (first?.type !== "IHDR") throw new Error("expected a PNG file, which begins with a header");
  const added = Object.entries(texts).map(([keyword, text]) => textChunk(keyword, text));
  const size = added.reduce((sum, { length }) => sum + length, png.length);
  const out = new Uint8Array(size);
  out.set(png.subarray(0, first.end));
  let at = first.end;
  for (const chunk of added) {
    out.set(chunk, at);
    at += chunk.length;
  }
  out.set(png.subarray(first.end), at);
  return out;
}

/**
 * The texts of a file by keyword: those of iTXt and tEXt chunks that are not compressed.
 *
 * @throws {Error} where `png` is no PNG file, or a damaged one.
 */
export function textsOf(png: Uint8Array): Map<string, string> {
  const found = new Map<string, string>();
  for (const { type, start, data } of chunks(png)) {
    if ((type !== "iTXt" && type !== "tEXt") || data.length > MOST_TEXT) continue;
    const sum = new DataView(png.buffer, png.byteOffset).getUint32(start + 8 + data.length);
    if (sum !== crc32(png.subarray(start + 4, start + 8 + data.length))) {
      throw new Error("this PNG file is damaged: the checksum of its text is another one");
    }
    const end = data.indexOf(0);
    if (end < 1) continue;
    const keyword = latin1(data.subarray(0, end));
    if (type === "tEXt") found.set(keyword, latin1(data.subarray(end + 1)));
    else {
      const text = internationalText(data.subarray(end + 1));
      if (text !== undefined) found.set(keyword, text);
    }
  }
  return found;
}

/** After the keyword: compressed, method, language, 0, translated keyword, 0, text in UTF-8. */
function internationalText(data: Uint8Array): string | undefined {
  if (data[0] !== 0) return undefined; // compressed, which the page never writes
  const language = data.indexOf(0, 2);
  const translated = language < 0 ? -1 : data.indexOf(0, language + 1);
  return translated < 0 ? undefined : new TextDecoder().decode(data.subarray(translated + 1));
}

function textChunk(keyword: string, text: string): Uint8Array<ArrayBuffer> {
  const data = new TextEncoder().encode(`${keyword}\0\0\0\0\0${text}`);
  const out = new Uint8Array(FRAME + data.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, data.length);
  out.set(new TextEncoder().encode("iTXt"), 4);
  out.set(data, 8);
  view.setUint32(8 + data.length, crc32(out.subarray(4, 8 + data.length)));
  return out;
}

function* chunks(png: Uint8Array): Generator<Chunk, undefined> {
  if (SIGNATURE.some((byte, i) => png[i] !== byte)) throw new Error("this is not a PNG file");
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  for (let start: number = SIGNATURE.length; start + FRAME <= png.length;) {
    const end = start + FRAME + view.getUint32(start);
    if (end > png.length) throw new Error("this PNG file is damaged: it ends too soon");
    const type = latin1(png.subarray(start + 4, start + 8));
    yield { type, start, end, data: png.subarray(start + 8, end - 4) };
    if (type === "IEND") return;
    start = end;
  }
  throw new Error("this PNG file is damaged: it ends too soon");
}

function latin1(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
}
