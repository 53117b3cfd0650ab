/**
 * float16 in memory, float32 in registers, by integer SIMD. Exact on all 2^32 inputs, NaN included
 * (which comes out quiet); rounding is to nearest, ties to even.
 */
import { type Func, V128 } from "./assembler.ts";

/** 2^112 scales an f16 exponent to f32's; the bits of an f16 shifted by 13 need just that. */
const REBIAS = 2 ** 112;

/** Four f16 as signed 16-bit integers in the lanes of the vector on the stack -> four f32. */
export function widenHalves(f: Func): Func {
  const v = f.local(V128);
  f.i32const(13).i32x4("shl").i32x4const(0x8fffe000 | 0).v128("and");
  f.f32x4const(REBIAS).f32x4("mul").tee(v);
  // 65536 and up was infinity or NaN: give it f32's exponent of all ones.
  f.get(v).f32x4("abs").f32x4const(65536).f32x4("ge").i32x4const(0x7f800000).v128("and");
  return f.v128("or");
}

/** Loads four f16: address on the stack -> four f32. */
export function loadHalves(f: Func, offset = 0): Func {
  return widenHalves(f.vmem("load16x4_s", offset));
}

/** Loads one f16 into every lane: address on the stack -> four f32. */
export function loadHalfSplat(f: Func, offset = 0): Func {
  return widenHalves(f.mem("i32.load16_s", offset).i32x4("splat"));
}

/** Four f32 on the stack -> their f16 bits, each sign-extended in a 32-bit lane. */
export function narrowToHalves(f: Func): Func {
  const x = f.local(V128), a = f.local(V128), base = f.local(V128), v = f.local(V128);
  f.tee(x).f32x4("abs").set(a);
  // Adding a power of two of the right size makes the adder round at f16's last bit.
  f.get(a).i32x4const(0x07800000).i32x4("add").i32x4const(0x7f800000).v128("and");
  f.i32x4const(0x40000000).i32x4("max_s").set(base);
  f.get(a).f32x4const(2 ** 112).f32x4("mul").f32x4const(2 ** -110).f32x4("mul");
  f.get(base).f32x4("add").set(v);
  f.i32x4const(0x7e00);
  f.get(v).i32const(13).i32x4("shr_u").i32x4const(0x7c00).v128("and");
  f.get(v).i32x4const(0x0fff).v128("and").i32x4("add");
  f.get(a).i32x4const(0x7f800000).i32x4("gt_s").v128("bitselect");
  return f.get(x).get(a).v128("xor").i32const(16).i32x4("shr_s").v128("or");
}
