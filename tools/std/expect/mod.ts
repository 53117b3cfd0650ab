/**
 * Stand-in for `@std/expect`, used only where JSR cannot be reached (see `tools/std.ts`): the
 * matchers for values, errors and promises.
 *
 * @module
 */
export { expect, type Expected } from "./expect.ts";
