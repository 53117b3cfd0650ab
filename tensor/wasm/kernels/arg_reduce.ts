import type { KernelArgs } from "../../kernels.ts";
import { storeLanes } from "../emit/access.ts";
import { V128 } from "../emit/assembler.ts";
import { type FourLines, runLines } from "../emit/lines.ts";
import type { WasmRuntime } from "../device/runtime.ts";

/** Runs `KernelArgs.argReduce`. A NaN counts as larger and smaller than any number. */
export function argReduce(runtime: WasmRuntime, { op, x, out }: KernelArgs["argReduce"]): void {
  const I = x.shape[2]!;
  runLines(runtime, `argReduce ${op}`, x, out, [I, 0, 1], false, (lines) => emit(op, lines));
}

function emit(op: "max" | "min", { context, lines, out, outStep, each }: FourLines): void {
  const { f, constants } = context;
  const best = f.local(V128), bestAt = f.local(V128), at = f.local(V128);
  const better = f.local(V128);
  // No number is better than the first element by this start, so that ties keep the first.
  f.get(constants.f32(op === "max" ? -Infinity : Infinity)).set(best);
  f.get(constants.i32(0)).set(bestAt).get(constants.i32(0)).set(at);
  each((value) => {
    f.get(value).get(best).f32x4(op === "max" ? "gt" : "lt");
    // The first NaN is better than any number, and nothing is better than it.
    f.get(value).get(value).f32x4("ne").get(best).get(best).f32x4("eq").v128("and");
    f.v128("or").set(better);
    f.get(value).get(best).get(better).v128("bitselect").set(best);
    f.get(at).get(bestAt).get(better).v128("bitselect").set(bestAt);
    f.get(at).get(constants.i32(1)).i32x4("add").set(at);
  });
  storeLanes(context, "i32", out, bestAt, outStep, lines);
  context.temporaries.releaseAll();
}
