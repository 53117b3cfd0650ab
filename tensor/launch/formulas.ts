/** Formulas that are launched from several places. */
import type { Expr, Ty } from "../expr.ts";

/** What an elementwise kernel computes. Compiled code is found by the expressions themselves. */
export interface Formula {
  /** What profiles and errors call it; need not be unique. */
  readonly name: string;
  /**
   * An expression a result from one an operand. Called once for each list of operand types, so it
   * must give the same each time; a formula that is launched often is an object that lasts.
   */
  readonly build: (...args: Expr[]) => Expr | Expr[];
}

/** a + b */
export const ADD: Formula = { name: "add", build: (a, b) => a!.add(b!) };

/** x f */
export const SCALE: Formula = { name: "scale", build: (x, f) => x!.mul(f!) };

const conversion = (ty: Ty): Formula => ({ name: `to ${ty}`, build: (x) => x!.to(ty) });
const CONVERSIONS: { readonly [T in Ty]: Formula } = {
  f32: conversion("f32"),
  i32: conversion("i32"),
  u32: conversion("u32"),
  bool: conversion("bool"),
};

/** x as another type: floats to integers cut towards zero. */
export function convertTo(ty: Ty): Formula {
  return CONVERSIONS[ty];
}

/** x */
export const IDENTITY: Formula = { name: "identity", build: (x) => x! };
