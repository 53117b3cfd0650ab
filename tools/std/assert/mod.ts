/**
 * Stand-in for `@std/assert`, used only where JSR cannot be reached (see `tools/std.ts`): the same
 * names, signatures and outcomes for the functions this project's tests call.
 *
 * @module
 */
export { AssertionError } from "./assertion_error.ts";
export { equal } from "./equal.ts";
export { assertEquals } from "./structure.ts";
export { assert, assertInstanceOf } from "./truth.ts";
export { assertAlmostEquals } from "./numbers.ts";
export { assertMatch, assertStringIncludes } from "./text.ts";
export { assertRejects, assertThrows } from "./errors.ts";
