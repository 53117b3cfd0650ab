import { assert, assertEquals } from "@std/assert";
import type { Device } from "@dit/core/tensor";
import { failedTest, FastTierError } from "./device.ts";
import { UsageError } from "./errors.ts";

const deviceOf = (name: string, backend: object) => ({ name, backend }) as Device;

Deno.test("a device that fails its test is replaced where there is something to replace it", () => {
  const fast = failedTest(deviceOf("wasm", { tier: "fast" }), "wrong");
  assert(fast instanceof FastTierError);
  assertEquals(fast.message, "wrong");
  for (
    const [device, message] of [
      [deviceOf("wasm", { tier: "safe" }), "wrong"],
      [deviceOf("webgpu", {}), "wrong; use --device wasm"],
    ] as const
  ) {
    const error = failedTest(device, "wrong");
    assert(!(error instanceof FastTierError) && !(error instanceof UsageError));
    assertEquals(error.message, message);
  }
});
