/**
 * How a kernel gets its arguments and its share of the work.
 *
 * Every exported kernel is `(args: i32, thread: i32, threads: i32, scratch: f64) -> ()`. `args` is
 * the address of a row of f64 slots that the host filled; addresses and whole numbers are exact in
 * them up to 2^53. `scratch` is the address of memory only this thread uses.
 */
import { F64, Func, I32, I64, type Push, V128 } from "./assembler.ts";
import { COUNTER } from "../device/layout.ts";

/** Parameters of a kernel, as local numbers. */
export const ARGS_PARAM = 0, THREAD_PARAM = 1, THREADS_PARAM = 2, SCRATCH_PARAM = 3;

/** An empty kernel function, to be exported as `name`. */
export function kernel(name: string): Func {
  return new Func(name, [I32, I32, I32, F64]);
}

function loadSlot(f: Func, slot: number): Func {
  return f.get(ARGS_PARAM).i64("extend_i32_u").mem("f64.load", slot * 8);
}

/** Slot `slot` as an i64, usually an address or a number of bytes, in a new local. */
export function slotI64(f: Func, slot: number): number {
  const local = f.local(I64);
  loadSlot(f, slot).i64("trunc_f64_s").set(local);
  return local;
}

/** Slot `slot` as an i32 in a new local. */
export function slotI32(f: Func, slot: number): number {
  const local = f.local(I32);
  loadSlot(f, slot).i32("trunc_f64_s").set(local);
  return local;
}

/** Slot `slot` as an f32 in all four lanes of a new local. */
export function slotF32x4(f: Func, slot: number): number {
  const local = f.local(V128);
  loadSlot(f, slot).f32("demote_f64").f32x4("splat").set(local);
  return local;
}

/** This thread's scratch address as an i64 in a new local. */
export function scratchI64(f: Func): number {
  const local = f.local(I64);
  f.get(SCRATCH_PARAM).i64("trunc_f64_s").set(local);
  return local;
}

/** The smaller of two i64 locals, left on the stack. */
export function smaller(f: Func, a: number, b: number): Func {
  return f.get(a).get(b).get(a).get(b).i64("lt_s").select();
}

/**
 * Claims chunks 0, 1, ... below `chunks` (an i32) one at a time, with whichever threads come
 * first, and runs `body` with the i32 local that holds the chunk's number. Results must not depend
 * on who runs which chunk. At most one such loop a launch: it counts in the launch's one counter.
 */
export function claimChunks(f: Func, chunks: Push | number, body: (chunk: number) => void): void {
  const chunk = f.local(I32);
  f.block(() => {
    f.loop(() => {
      f.i64const(COUNTER).i32const(1).atomicAdd().tee(chunk);
      f.push(chunks).i32("ge_u").brIf(1);
      body(chunk);
      f.br(0);
    });
  });
}
