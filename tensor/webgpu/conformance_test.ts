import { assertEquals } from "@std/assert";
import { ATTENTION, chosen, registerConformance, usable } from "./conformance_test_util.ts";
import { arraysOf } from "./paths_test_util.ts";

/** `maxStorageBuffersPerShaderStage` of every GPU. */
const DEFAULT_ARRAYS = 8;

const others = usable.filter(({ kernel }) => !ATTENTION.has(kernel));
registerConformance(
  "every kernel but attention agrees with the reference, whole and cut",
  chosen(others),
  others,
);

Deno.test("no kernel binds more arrays than every GPU does, in any case", () => {
  assertEquals(usable.filter((test) => arraysOf(test) > DEFAULT_ARRAYS), []);
});
