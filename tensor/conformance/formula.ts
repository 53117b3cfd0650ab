/** How the suite writes elementwise cases: a formula over arrays that differ only as stated. */
import {
  type CaseOptions,
  type ConformanceCase,
  conformanceCase,
  type Fill,
  type MemoryLayout,
  type Tolerance,
} from "./fixture.ts";
import type { DType } from "../dtype.ts";
import { computeType, type Expr, type Program, program, type Ty } from "../expr.ts";
import { type Shape, sizeOf } from "../shape.ts";

/** One input of an elementwise case. */
export interface In {
  readonly fill?: Fill;
  readonly dtype?: DType;
  readonly layout?: MemoryLayout;
}

/** One output of an elementwise case. */
export interface Out {
  readonly dtype?: DType;
  readonly layout?: MemoryLayout;
  readonly tolerance?: Tolerance;
}

/** Runs a formula over arrays of `shape`. */
export function formula(
  name: string,
  shape: Shape,
  ins: readonly In[],
  outs: readonly Out[],
  build: (...args: Expr[]) => Expr | Expr[],
  options: CaseOptions & { scalars?: readonly (readonly [Ty, number])[] } = {},
): ConformanceCase {
  const { scalars = [], ...rest } = options;
  const types = [...ins, ...outs].map(({ dtype = "f32" }) => dtype);
  const made: Program = program(
    name,
    [
      ...ins.map(({ dtype = "f32" }) => ({ kind: "input" as const, ty: computeType(dtype) })),
      ...scalars.map(([ty]) => ({ kind: "scalar" as const, ty })),
    ],
    build,
  );
  return conformanceCase("elementwise", name, {
    cost: sizeOf(shape) * (ins.length + outs.length),
    half: types.includes("f16"),
    tolerance: outs.some(({ dtype }) => dtype === "f16")
      ? { relative: 1.1e-3, absolute: 6.2e-5 }
      : { scaled: 2e-6 },
    ...rest,
  }, (f) => ({
    program: made,
    ins: ins.map(({ fill, dtype, layout }) => f.input(shape, fill, dtype, layout)),
    outs: outs.map(({ dtype, layout, tolerance }, i) =>
      f.output(`out ${i}`, shape, dtype, layout, tolerance)
    ),
    scalars: scalars.map(([, value]) => value),
  }));
}

/** One f32 output. */
export const F32: readonly Out[] = [{}];
/** One i32 output. */
export const I32: readonly Out[] = [{ dtype: "i32" }];
/** One u32 output. */
export const U32: readonly Out[] = [{ dtype: "u32" }];
/** One u8 output. */
export const U8: readonly Out[] = [{ dtype: "u8" }];
