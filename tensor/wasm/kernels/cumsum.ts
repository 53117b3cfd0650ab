import type { KernelArgs } from "../../kernels.ts";
import { storeLanes } from "../emit/access.ts";
import { V128 } from "../emit/assembler.ts";
import { type FourLines, runLines } from "../emit/lines.ts";
import type { WasmRuntime } from "../device/runtime.ts";

/** Runs `KernelArgs.cumsum`. */
export function cumsum(runtime: WasmRuntime, { x, out, reverse }: KernelArgs["cumsum"]): void {
  const [, R, I] = x.shape as [number, number, number];
  runLines(runtime, "cumsum", x, out, [R * I, I, 1], reverse, emit);
}

/** The sums are float64, two lanes a vector: float32 would be 1% off after a million elements. */
function emit({ context, lines, out, outStep, outStride, each }: FourLines): void {
  const { f, constants, temporaries } = context;
  const [low, high] = f.locals(V128, 2) as [number, number];
  for (const sum of [low, high]) f.get(constants.f32(0)).set(sum);
  each((value) => {
    f.get(low).get(value).f64x2("promote_low_f32x4").f64x2("add").set(low);
    f.get(high).get(value).get(value).shuffle32([2, 3, 2, 3]);
    f.f64x2("promote_low_f32x4").f64x2("add").set(high);
    const sums = temporaries.take();
    f.get(low).f32x4("demote_f64x2_zero").get(high).f32x4("demote_f64x2_zero");
    f.shuffle32([0, 1, 4, 5]).set(sums);
    storeLanes(context, "f32", out, sums, outStep, lines);
    f.get(out).get(outStride).i64("add").set(out);
  });
}
