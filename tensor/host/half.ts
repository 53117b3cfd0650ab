/**
 * Bulk conversion between float32 and the 16-bit and 8-bit formats, on bit patterns. `Float16Array` does
 * the same an element at a time, at several nanoseconds each.
 */

/** float32 bits of every float16, by its bits; built when first needed (256 KiB). */
let f32BitsOfF16: Uint32Array | undefined;

function f16Table(): Uint32Array {
  if (f32BitsOfF16 === undefined) {
    const halves = new Float16Array(Uint16Array.from({ length: 65536 }, (_, h) => h).buffer);
    f32BitsOfF16 = new Uint32Array(new Float32Array(halves).buffer);
  }
  return f32BitsOfF16;
}

/** Exact float32 values of float16 bit patterns, written to `out`. */
export function f16ToF32(bits: Uint16Array, out: Float32Array): void {
  const table = f16Table();
  const to = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < bits.length; i++) to[i] = table[bits[i]!]!;
}

/**
 * Bit patterns of the float16 nearest to each float32 (ties to even; past 65504 infinity; every
 * NaN the quiet one of its sign), written to `out`.
 */
export function f32ToF16(values: Float32Array, out: Uint16Array): void {
  const from = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < from.length; i++) {
    const f = from[i]!;
    const sign = (f >>> 16) & 0x8000;
    const magnitude = f & 0x7fffffff;
    let h: number;
    if (magnitude >= 0x38800000 && magnitude < 0x47800000) {
      // Normal: move the exponent's bias from 127 to 15 and round off 13 bits of mantissa. A carry
      // out of the mantissa lands in the exponent, which is right, up to infinity.
      h = (magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13;
    } else if (magnitude < 0x38800000) {
      // Subnormal: a multiple of 2^-24. Adding and taking away 2^52 rounds a double to whole
      // numbers, ties to even.
      h = (Math.abs(values[i]!) * 2 ** 24 + 2 ** 52) - 2 ** 52;
    } else {
      h = magnitude > 0x7f800000 ? 0x7e00 : 0x7c00;
    }
    out[i] = sign | h;
  }
}

/** Exact float32 values of bfloat16 bit patterns, written to `out`. */
export function bf16ToF32(bits: Uint16Array, out: Float32Array): void {
  const to = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < bits.length; i++) to[i] = bits[i]! << 16;
}

/** Bit patterns of the bfloat16 nearest to each float32 (ties to even), written to `out`. */
export function f32ToBf16(values: Float32Array, out: Uint16Array): void {
  const from = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < from.length; i++) {
    const f = from[i]!;
    // A NaN keeps its upper bits and is made quiet, since rounding could carry it to infinity.
    out[i] = (f & 0x7fffffff) > 0x7f800000
      ? (f >>> 16) | 0x40
      : (f + 0x7fff + ((f >>> 16) & 1)) >>> 16;
  }
}

/** float32 values of every 8-bit float, by its bits; built when first needed. */
const f8Tables = new Map<string, Float32Array>();

function f8Table(dtype: "f8e4m3" | "f8e5m2"): Float32Array {
  const known = f8Tables.get(dtype);
  if (known) return known;
  // E5M2 is the upper half of float16. E4M3 has a bias of 7, no infinities, and one NaN of each sign.
  const table = dtype === "f8e5m2"
    ? new Float32Array(new Float16Array(Uint16Array.from({ length: 256 }, (_, b) => b << 8).buffer))
    : Float32Array.from({ length: 256 }, (_, b) => {
      const exponent = (b >> 3) & 15;
      const mantissa = b & 7;
      const size = (b & 0x7f) === 0x7f
        ? NaN
        : exponent === 0
        ? mantissa * 2 ** -9
        : (1 + mantissa / 8) * 2 ** (exponent - 7);
      return b & 0x80 ? -size : size;
    });
  f8Tables.set(dtype, table);
  return table;
}

/** Exact float32 values of the bit patterns of 8-bit floats, written to `out`. */
export function f8ToF32(dtype: "f8e4m3" | "f8e5m2", bits: Uint8Array, out: Float32Array): void {
  const table = f8Table(dtype);
  for (let i = 0; i < bits.length; i++) out[i] = table[bits[i]!]!;
}
