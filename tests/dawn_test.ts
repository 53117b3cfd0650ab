/** The engine on Dawn: the kernels that Deno's WebGPU runs, by another compiler and driver. */
import { assert, assertEquals } from "@std/assert";
import { found, onDawn } from "./dawn.ts";
import type { Conformed } from "./dawn/process.ts";

const missing = "missing" in found ? ` (${found.missing})` : "";

Deno.test({
  name: `every kernel agrees with the reference on Dawn${missing}`,
  ignore: missing !== "",
  async fn() {
    const { cases, failures } = await onDawn<Conformed>("conformance");
    assert(cases > 200, `${cases}`);
    assertEquals(failures, []);
  },
});
