/** What tests of bad input share: tensors of nothing in particular, and the errors that are expected. */
import { assertEquals, assertThrows } from "@std/assert";
import * as d from "../mod.ts";
import type { Tensor } from "../tensor/mod.ts";
import { eachDevice } from "./devices.ts";

/** Zeros. */
export const z = (...shape: number[]): Tensor => d.zeros(shape);
/** Numbers in a row. */
export const f = (...values: number[]): Tensor => d.tensor(values);
/** Whole numbers in a row. */
export const i32 = (...values: number[]): Tensor => d.tensor(values, undefined, { dtype: "i32" });
/** Those of 0 or more. */
export const u32 = (...values: number[]): Tensor => d.tensor(values, undefined, { dtype: "u32" });
/** Bytes in a row. */
export const u8 = (...values: number[]): Tensor => d.tensor(values, undefined, { dtype: "u8" });
/** Zeros in half precision. */
export const half = (...shape: number[]): Tensor => d.zeros(shape, { dtype: "f16" });
/** Any generator. */
export const generator = (): d.Generator => new d.Generator(1);
/** A value that the types rule out. */
export const wrong = (value: unknown): never => value as never;

type ErrorClass = new (message: string) => Error;
/** The error an expression must end in, and part of its message. */
export type Fault = readonly [run: () => unknown, kind: ErrorClass, message: string];

/** Registers a test of each group of faults. */
export function testFaults(groups: Readonly<Record<string, readonly Fault[]>>): void {
  for (const [name, faults] of Object.entries(groups)) {
    eachDevice(`bad input: ${name}`, () => {
      for (const [run, kind, message] of faults) {
        using _ = d.scope();
        const p = new d.Parameter(f(1)); // errors must not depend on recording
        assertThrows(run, kind, message, run.toString());
        assertEquals(d.requiresGrad(d.mul(p, 1)), true);
      }
    });
  }
}
