/**
 * Formulas that are launched from several places. Compiled code is kept by name, so a name stands
 * for one formula, and a formula that several launch is written once.
 */
import type { Expr, Ty } from "../expr.ts";

/** A formula with a name that is its own: the name and the operand types key the compiled code. */
export interface Formula {
  /** Names the formula and its constants; two formulas must never share one. */
  readonly name: string;
  /** Called once for each list of operand types: an expression a result from one an operand. */
  readonly build: (...args: Expr[]) => Expr | Expr[];
}

/** a + b */
export const ADD: Formula = { name: "launch:add", build: (a, b) => a!.add(b!) };

/** x f */
export const SCALE: Formula = { name: "launch:scale", build: (x, f) => x!.mul(f!) };

/** x as another type: floats to integers cut towards zero. */
export function convertTo(ty: Ty): Formula {
  return { name: `launch:to:${ty}`, build: (x) => x!.to(ty) };
}
