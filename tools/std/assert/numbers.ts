import { AssertionError, because } from "./assertion_error.ts";

/** Asserts `|expected - actual| <= tolerance`; left out, the tolerance is 1e-7 of `expected`. */
export function assertAlmostEquals(
  actual: number,
  expected: number,
  tolerance: number = Number.isFinite(expected) ? Math.abs(expected * 1e-7) : 1e-7,
  msg?: string,
): void {
  if (Object.is(actual, expected)) return;
  const delta = Math.abs(expected - actual);
  if (delta <= tolerance) return;
  const text = (n: number): string => Number.isInteger(n) ? `${n}` : n.toExponential();
  throw new AssertionError(
    `Expected actual: "${text(actual)}" to be close to "${text(expected)}": ` +
      `delta "${text(delta)}" is greater than "${text(tolerance)}"${because(msg)}`,
  );
}
