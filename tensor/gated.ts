/** What a gate lets through of a branch, added to what went past it: x + gate h. */
import { type Program, program } from "./expr.ts";
import type { Formula } from "./launch/formulas.ts";

/** Of [x, gate, h]. */
export const GATED: Formula = {
  name: "gated residual",
  build: (x, gate, h) => gate!.mul(h!).add(x!),
};

const FLOAT = { kind: "input", ty: "f32" } as const;

/** The same, for kernels. */
export const GATED_PROGRAM: Program = program(GATED.name, [FLOAT, FLOAT, FLOAT], GATED.build);
