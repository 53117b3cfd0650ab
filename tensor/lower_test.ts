import { assert, assertEquals } from "@std/assert";
import type { View } from "./view.ts";
import { type Expr, program } from "./expr.ts";
import { cos, erf, polynomial, sin } from "./lower.ts";
import { createReferenceBackend } from "./reference/backend.ts";

/** `f` of each of `data`, in float64: what is left of an error is the formula's own. */
async function map(name: string, f: (x: Expr) => Expr, data: number[]): Promise<number[]> {
  const backend = createReferenceBackend();
  const view = (): View => ({
    buffer: backend.alloc(data.length * 4, "test"),
    dtype: "f32",
    offset: 0,
    shape: [data.length],
    strides: [1],
  });
  const x = view(), out = view();
  backend.write(x.buffer, 0, Float64Array.from(data));
  const made = program(`test.${name}`, [{ kind: "input", ty: "f32" }], f);
  backend.run("elementwise", { program: made, ins: [x], outs: [out], scalars: [] }, "test");
  return [...await backend.read(out.buffer, "f32", 0, data.length)];
}

const spread = (limit: number): number[] =>
  Array.from({ length: 2001 }, (_, i) => (i / 1000 - 1) * limit);

Deno.test("polynomial() evaluates its coefficients, lowest power first", async () => {
  const values = await map("polynomial", (x) => polynomial(x, [1, -2, 3]), [0, 1, 2, -1]);
  assertEquals(values, [1, 2, 9, 6]);
});

Deno.test("sin() and cos() keep their error below 1e-7 for numbers of any size", async () => {
  for (const limit of [1, 100, 1e5, 2e5, 5e6, 1e10, 1e20, 3.4e38]) {
    const x = spread(limit).map(Math.fround);
    const s = await map("sin", sin, x), c = await map("cos", cos, x);
    assert(x.every((v, i) => Math.abs(s[i]! - Math.sin(v)) < 1e-7));
    assert(x.every((v, i) => Math.abs(c[i]! - Math.cos(v)) < 1e-7));
  }
});

Deno.test("erf() meets known values", async () => {
  // Abramowitz and Stegun, table 7.1.
  const known = [[0, 0], [0.5, 0.5204998778], [1, 0.8427007929], [2, 0.995322265], [
    -1,
    -0.8427007929,
  ]];
  const values = await map("erf", erf, known.map(([x]) => x!));
  assert(known.every(([, y], i) => Math.abs(values[i]! - y!) < 1e-7));
});
