/** Gradients of gates: two passes, which sums by columns and formulas have kernels for. */
import type { KernelArgs } from "../../kernels.ts";
import type { View } from "../../view.ts";
import { program } from "../../expr.ts";
import { isContiguous } from "../../shape.ts";
import type { WasmRuntime } from "../device/runtime.ts";
import { elementwise } from "./elementwise.ts";
import { reduce } from "./reduce.ts";

const PRODUCT = program(
  "gate",
  [{ kind: "input", ty: "f32" }, { kind: "input", ty: "f32" }],
  (g, x) => g!.mul(x!),
);
const ITSELF = program("itself", [{ kind: "input", ty: "f32" }], (x) => x!);

/** `gateGrad` of the kernel contract. */
export function gateGrad(
  runtime: WasmRuntime,
  { x, gate, g, dx, dGate }: KernelArgs["gateGrad"],
): void {
  const [samples, , n] = x.shape as [number, number, number];
  const repeated: View = { ...gate, shape: x.shape, strides: [gate.strides[0]!, 0, 1] };
  elementwise(runtime, { program: PRODUCT, ins: [g, repeated], outs: [dx], scalars: [] });
  const sum = (out: View) =>
    reduce(runtime, { op: "sum", program: PRODUCT, ins: [g, x], scalars: [], out });
  if (dGate.dtype === "f32" && isContiguous(dGate.shape, dGate.strides)) return sum(dGate);
  const buffer = runtime.alloc(samples * n * 4, "gateGrad");
  try {
    const shape = [samples, n];
    const whole: View = { buffer, dtype: "f32", offset: 0, shape, strides: [n, 1] };
    sum(whole);
    elementwise(runtime, { program: ITSELF, ins: [whole], outs: [dGate], scalars: [] });
  } finally {
    runtime.free(buffer);
  }
}
