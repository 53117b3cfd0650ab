import type { KernelArgs } from "../kernels.ts";
import { elementsOf, floatsOf } from "./buffer.ts";
import type { Trials } from "./trial.ts";

/** See {@linkcode KernelArgs}. */
export function gather({ table, index, out }: KernelArgs["gather"]): void {
  const [length, width] = out.shape as [number, number];
  const [rows, indices, result] = [elementsOf(table), elementsOf(index), elementsOf(out)];
  for (let l = 0; l < length; l++) {
    const from = table.offset + indices[index.offset + l]! * table.strides[0]!;
    for (let d = 0; d < width; d++) result[out.offset + l * width + d] = rows[from + d]!;
  }
}

/** See {@linkcode KernelArgs}. */
export function scatterAdd({ g, index, out }: KernelArgs["scatterAdd"]): void {
  const [length, width] = g.shape as [number, number];
  const [G, indices, result] = [floatsOf(g), elementsOf(index), floatsOf(out)];
  result.fill(0, out.offset, out.offset + out.shape[0]! * width);
  for (let l = 0; l < length; l++) {
    const to = out.offset + indices[index.offset + l]! * width;
    for (let d = 0; d < width; d++) result[to + d]! += G[g.offset + l * width + d]!;
  }
}

export const gatherTrials: Trials<"gather"> = [(x) => ({
  table: x.input([9, 13]),
  index: x.input([7], 0, 9, "i32"),
  out: x.output([7, 13]),
})];

export const scatterAddTrials: Trials<"scatterAdd"> = [(x) => ({
  g: x.input([31, 13]),
  index: x.input([31], 0, 9, "i32"),
  out: x.output([9, 13]),
})];
