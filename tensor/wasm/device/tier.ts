/**
 * Which of the two instruction tiers this process runs in.
 *
 * The fast one needs V8 flags given before the process starts (see the README's `DENO_V8_FLAGS`).
 * Flags cannot be read from inside, but the last one changes which modules are valid, so it marks
 * the rest.
 */
import { Func, I64, Module } from "../emit/assembler.ts";
import { isX64 } from "./host.ts";

/** V8's flags of the fast tier. */
export const FAST_TIER_FLAGS =
  "--experimental-wasm-revectorize,--no-wasm-bounds-checks,--experimental-wasm-fp16";

/** `safe`: 128-bit code with bounds checks. `fast`: 256-bit code without them. */
export type Tier = "safe" | "fast";

/** Whether SIMD instructions compile here, relaxed ones or the others. */
export function hasSimd(relaxed: boolean): boolean {
  const module = new Module();
  const f = module.add(new Func("probe", [I64]));
  const load = () => f.get(0).vmem("load");
  f.get(0);
  load();
  load();
  load().f32x4("relaxed_madd").vmem("store");
  return WebAssembly.validate(module.bytes({ shared: false, bits: 32, relaxed }));
}

/** Whether half-precision SIMD instructions compile here. */
export function hasHalfInstructions(): boolean {
  const module = new Module();
  const f = module.add(new Func("probe", [I64]));
  f.get(0).get(0).vmem("load").f16x8("demote_f32x4_zero").vmem("store");
  return WebAssembly.validate(module.bytes({ shared: false, bits: 32 }));
}

/** The tier the process was started in. */
export function probeTier(): Tier {
  return isX64() && hasHalfInstructions() ? "fast" : "safe";
}
