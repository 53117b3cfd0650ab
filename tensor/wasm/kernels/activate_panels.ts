/** Activations of what has been packed: of operands that a product reads through them. */
import { activate } from "../emit/activations.ts";
import { Func, I64, type Module } from "../emit/assembler.ts";
import { vectorContext, walk } from "../emit/rows.ts";
import { ACTIVATIONS } from "./epilogue.ts";

/**
 * A function `(dst, lines, k, activation)` that applies an activation, by its number, to panels of
 * `width` lines of `k` f32 at `dst`, in place: `lines` of them, and what fills the last panel.
 */
export function activatePanels(module: Module, width: number): Func {
  const kinds = ACTIVATIONS.slice(1).map((kind) => {
    const f = new Func("", [I64, I64]);
    const context = vectorContext(f);
    walk(context, 1, [0], ({ load, store }) => {
      const values = load(0);
      for (const value of values) {
        activate(context, kind, value);
        f.set(value);
      }
      store(0, values);
    });
    return module.add(f);
  });
  const f = new Func("", [I64, I64, I64, I64]);
  const [dst, lines, k, activation] = [0, 1, 2, 3] as const;
  f.get(lines).i64const(width - 1).i64("add").i64const(width).i64("div_u").i64const(width);
  f.i64("mul").get(k).i64("mul").set(lines);
  kinds.forEach((kind, i) => {
    f.get(activation).i64const(i + 1).i64("eq").if(() => f.get(dst).get(lines).call(kind).ret());
  });
  return module.add(f);
}
