/** Operands of a tiled product that lie in memory by strides. */
import type { View } from "../../view.ts";
import { canVec4, type ViewBinding } from "./accessors.ts";
import type { Operand } from "./tile.ts";

/** An operand in memory, and what the kernel needs to know of it. */
export interface StridedOperand extends Operand {
  readonly key: string;
  readonly binding: ViewBinding;
  readonly uniforms: Readonly<Record<string, number>>;
}

/**
 * The operand `view` [outer, inner, .., ..] with `alongAxis` along the tile (`extent` is its length
 * in WGSL) and `depthAxis` down its depth. The kernel declares `outer` and `inner`. Reads by vec4s
 * along whichever axis has unit stride; neighbours beyond the extent are read as the last one,
 * since their results are not stored.
 */
export function stridedOperand(
  name: string,
  view: View,
  alongAxis: 2 | 3,
  depthAxis: 2 | 3,
  extent: string,
): StridedOperand {
  const along = view.strides[alongAxis]!;
  const deep = view.strides[depthAxis]!;
  const depth = view.shape[depthAxis]!;
  const alongUnit = along === 1 && view.shape[alongAxis]! > 1;
  const order = !alongUnit && deep === 1 && depth > 1 ? "deep" : "across";
  const unit = order === "deep" ? depthAxis : alongAxis;
  const byVec4 = (order === "deep" || alongUnit) && view.shape[unit]! % 4 === 0 &&
    canVec4({
      ...view,
      shape: [view.shape[0]!, view.shape[1]!, view.shape[5 - unit]!, view.shape[unit]!],
      strides: [view.strides[0]!, view.strides[1]!, view.strides[5 - unit]!, view.strides[unit]!],
    });
  const at = [0, 1, 2, 3].map((lane) => `${name}At${lane}`);
  const begin = `outer * params.${name}Outer + inner * params.${name}Inner`;
  const step = (axis: 2 | 3): string => `params.${name}${axis === 2 ? "Row" : "Column"}`;
  const alongStep = alongUnit ? "" : ` * ${step(alongAxis)}`;
  const place = (x: string, lane: number): string =>
    `  let ${at[lane]} = ${begin} + min(${x} + ${lane}u, ${extent} - 1u)${alongStep};`;
  const deepStep = order === "deep" ? "" : ` * ${step(depthAxis)}`;

  return {
    key: `${order}${byVec4 ? 4 : ""}${alongUnit ? "unit" : ""}`,
    order,
    binding: { name, view, access: "read", vec4: byVec4 },
    uniforms: {
      [`${name}Outer`]: view.strides[0]!,
      [`${name}Inner`]: view.strides[1]!,
      [`${name}Row`]: view.strides[2]!,
      [`${name}Column`]: view.strides[3]!,
    },
    prepare: (x) =>
      order === "across" && byVec4
        ? `  let ${at[0]} = ${begin} + min(${x}, ${extent} - 4u);`
        : [0, 1, 2, 3].map((lane) => place(x, lane)).join("\n"),
    load: (value, k, lane) => {
      const elements = order === "deep"
        ? [0, 1, 2, 3].map((i) => `${name}_load(${at[lane]} + ${k} + ${i}u)`)
        : at.map((a) => `${name}_load(${a} + ${k}${deepStep})`);
      const fours = `${name}_load4(${order === "deep" ? at[lane] : at[0]} + ${k}${deepStep})`;
      return `      let ${value} = ${byVec4 ? fours : `vec4f(${elements.join(", ")})`};`;
    },
  };
}
