/**
 * Stand-in for `@std/assert`, used only where JSR cannot be reached (see `tools/std.ts`): the same
 * names, signatures and outcomes for the functions this project's tests call.
 *
 * @module
 */
export { AssertionError } from "./assertion_error.ts";
export { equal } from "./equal.ts";
export { assertArrayIncludes, assertEquals, assertNotEquals } from "./structure.ts";
export { assertNotStrictEquals, assertStrictEquals } from "./structure.ts";
export { assert, assertExists, assertFalse, fail, type Falsy, unreachable } from "./truth.ts";
export { assertInstanceOf, assertNotInstanceOf } from "./truth.ts";
export { assertAlmostEquals, assertGreater, assertGreaterOrEqual } from "./numbers.ts";
export { assertLess, assertLessOrEqual } from "./numbers.ts";
export { assertMatch, assertNotMatch, assertStringIncludes } from "./text.ts";
export { assertIsError, assertRejects, assertThrows } from "./errors.ts";
