/**
 * CRC-32 as zip uses it (reflected polynomial 0xedb88320), sixteen bytes a step ("slicing by
 * sixteen", Kounavis and Berry 2005).
 */
const POLYNOMIAL = 0xedb88320;

/** TABLES[256 k + b]: the checksum of byte b followed by k zero bytes. */
const TABLES = /* @__PURE__ */ makeTables();

function makeTables(): Uint32Array {
  const tables = new Uint32Array(16 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    tables[byte] = crc;
  }
  for (let i = 256; i < tables.length; i++) {
    const shorter = tables[i - 256]!;
    tables[i] = (shorter >>> 8) ^ tables[shorter & 0xff]!;
  }
  return tables;
}

/**
 * Checksum of `bytes`.
 *
 * @param crc The checksum of what came before, to continue it.
 */
export function crc32(bytes: Uint8Array, crc = 0): number {
  const T = TABLES;
  const { length } = bytes;
  const wordsStart = Math.min(length, -bytes.byteOffset & 3);
  let c = ~crc;
  let i = 0;
  for (; i < wordsStart; i++) c = (c >>> 8) ^ T[(c ^ bytes[i]!) & 0xff]!;
  const groups = (length - i) >>> 4;
  const words = groups === 0
    ? new Uint32Array(0)
    : new Uint32Array(bytes.buffer, bytes.byteOffset + i, 4 * groups);
  for (let w = 0; w < words.length; w += 4) {
    const w0 = words[w]! ^ c;
    const w1 = words[w + 1]!;
    const w2 = words[w + 2]!;
    const w3 = words[w + 3]!;
    c = T[0xf00 + (w0 & 0xff)]! ^ T[0xe00 + ((w0 >>> 8) & 0xff)]! ^
      T[0xd00 + ((w0 >>> 16) & 0xff)]! ^ T[0xc00 + (w0 >>> 24)]! ^
      T[0xb00 + (w1 & 0xff)]! ^ T[0xa00 + ((w1 >>> 8) & 0xff)]! ^
      T[0x900 + ((w1 >>> 16) & 0xff)]! ^ T[0x800 + (w1 >>> 24)]! ^
      T[0x700 + (w2 & 0xff)]! ^ T[0x600 + ((w2 >>> 8) & 0xff)]! ^
      T[0x500 + ((w2 >>> 16) & 0xff)]! ^ T[0x400 + (w2 >>> 24)]! ^
      T[0x300 + (w3 & 0xff)]! ^ T[0x200 + ((w3 >>> 8) & 0xff)]! ^
      T[0x100 + ((w3 >>> 16) & 0xff)]! ^ T[w3 >>> 24]!;
  }
  for (i += 16 * groups; i < length; i++) c = (c >>> 8) ^ T[(c ^ bytes[i]!) & 0xff]!;
  return ~c >>> 0;
}

/**
 * Checksum of A followed by B, from the checksums of both and the length of B in bytes: what lets
 * a header be written after the data behind it.
 */
export function crc32Combine(crcA: number, crcB: number, lengthB: number): number {
  // Appending n zero bytes multiplies a checksum by x^(8n) modulo the polynomial.
  let shifted = crcA;
  let power = 0x00800000; // x^8 in reflected bits
  for (let n = lengthB; n > 0; n = Math.floor(n / 2)) {
    if (n % 2 === 1) shifted = multiply(shifted, power);
    power = multiply(power, power);
  }
  return (shifted ^ crcB) >>> 0;
}

/** a * b modulo the polynomial; bit 31 is the coefficient of x^0. */
function multiply(a: number, b: number): number {
  let product = 0;
  for (let bit = 31; bit >= 0; bit--) {
    if ((a >>> bit) & 1) product ^= b;
    b = b & 1 ? (b >>> 1) ^ POLYNOMIAL : b >>> 1;
  }
  return product >>> 0;
}
