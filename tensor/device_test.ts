import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { unreadable } from "../tests/fixtures.ts";
import { currentDevice, DeviceError, init, ones, scope, setNumThreads, shutdown } from "./mod.ts";

Deno.test("init() gives the same device again, and shutdown() takes it away", async () => {
  const reference = await init({ device: "reference" });
  assertEquals(await init({ device: "reference" }), reference);
  assertEquals(currentDevice(), reference);
  await shutdown(reference);
  assertThrows(() => currentDevice(), DeviceError, "await init()");
});

Deno.test("init() refuses a device that does not exist, by name", async () => {
  const device = "cuda" as "wasm";
  await assertRejects(() => init({ device }), DeviceError, '"cuda"');
});

Deno.test({
  name: "setNumThreads() changes the threads of the wasm device only",
  ignore: unreadable !== undefined,
  fn: async () => {
    const wasm = await init({ device: "wasm" });
    await setNumThreads(1);
    await setNumThreads(2);
    {
      using _ = scope();
      assertEquals(Array.from(await ones([3]).data()), [1, 1, 1]);
    }
    await assertRejects(() => setNumThreads(0), DeviceError);
    await shutdown(wasm);
    const reference = await init({ device: "reference" });
    await assertRejects(() => setNumThreads(2), DeviceError, "reference");
    await shutdown(reference);
  },
});
