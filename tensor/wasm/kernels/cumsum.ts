import type { KernelArgs } from "../../backend.ts";
import { storeLanes } from "../emit/access.ts";
import { V128 } from "../emit/assembler.ts";
import { type FourLines, runLines } from "../emit/lines.ts";
import type { WasmRuntime } from "../device/runtime.ts";

/** Runs `KernelArgs.cumsum`. */
export function cumsum(runtime: WasmRuntime, { x, out, reverse }: KernelArgs["cumsum"]): void {
  const [, R, I] = x.shape as [number, number, number];
  runLines(runtime, "cumsum", x, out, [R * I, I, 1], reverse, emit);
}

function emit({ context, lines, out, outStep, outStride, each }: FourLines): void {
  const { f, constants } = context;
  const sum = f.local(V128);
  f.get(constants.f32(0)).set(sum);
  each((value) => {
    f.get(sum).get(value).f32x4("add").set(sum);
    storeLanes(context, "f32", out, sum, outStep, lines);
    f.get(out).get(outStride).i64("add").set(out);
  });
}
