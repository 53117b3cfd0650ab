/**
 * Reductions of the middle axis of [O, R, I]. Where the axis lies along memory, its elements are
 * combined within a row; otherwise whole rows of I columns are combined.
 *
 * A long axis is cut into blocks of a fixed length, whose results are reduced again. So the order
 * of operations depends on shape and strides, not on the threads, and the error of a sum grows with
 * the logarithm of its length.
 */
import type { KernelArgs } from "../../kernels.ts";
import type { View } from "../../view.ts";
import { type Expr, program } from "../../expr.ts";
import { contiguousStrides } from "../../shape.ts";
import { COLUMN_BLOCK, reduceColumns } from "./reduce_columns.ts";
import { reduceRows, ROW_BLOCK } from "./reduce_rows.ts";
import type { WasmRuntime } from "../device/runtime.ts";

/** x */
export const itself = program("itself", [{ kind: "input", ty: "f32" }], (x: Expr) => x);

/** Runs a reduction; see `KernelArgs.reduce`. */
export function reduce(runtime: WasmRuntime, args: KernelArgs["reduce"]): void {
  const { op, program: map, ins, scalars, out } = args;
  const [O, R, I] = ins[0]!.shape as [number, number, number];
  const alongRows = I === 1 ||
    ins.some(({ strides }) => strides[1] === 1 && strides[2]! > 1);
  const blocks = Math.ceil(R / (alongRows ? ROW_BLOCK : COLUMN_BLOCK));
  const pass = alongRows ? reduceRows : reduceColumns;
  if (blocks === 1) {
    pass(runtime, args, 1, runtime.address(out));
    return;
  }
  const partials = runtime.alloc(O * I * blocks * 4, "reduce");
  try {
    // Rows leave their blocks' results side by side, columns above each other.
    const shape = alongRows ? [O * I, blocks, 1] : [O, blocks, I];
    const strides = contiguousStrides(shape);
    const view: View = { buffer: partials, dtype: "f32", offset: 0, shape, strides };
    pass(runtime, { op, program: map, ins, scalars, out }, blocks, runtime.address(view));
    reduce(runtime, { op, program: itself, ins: [view], scalars: [], out });
  } finally {
    runtime.free(partials);
  }
}
