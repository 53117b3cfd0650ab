/** Tests on a GPU: they skip where there is none, and say so. */
import { createWebGpuBackend, type WebGpuBackend, type WebGpuOptions } from "../backend.ts";
import { findAdapter } from "./adapter.ts";

const adapter = await findAdapter();
const hasHalf = adapter?.features.has("shader-f16") ?? false;

/** Whether `DIT_REQUIRE_WEBGPU=1` makes the absence of a GPU a failure. */
function required(): boolean {
  const name = "DIT_REQUIRE_WEBGPU";
  const { state } = Deno.permissions.querySync({ name: "env", variable: name });
  return state === "granted" && Deno.env.get(name) === "1";
}

/** Registers a test that gets a device of its own, made with `options`. */
export function gpuTest(
  name: string,
  run: (backend: WebGpuBackend, t: Deno.TestContext) => void | Promise<void>,
  options: WebGpuOptions = {},
): void {
  const missing = adapter === null
    ? "needs a WebGPU adapter"
    : options.half === "native" && !hasHalf
    ? "needs an adapter with shader-f16"
    : null;
  Deno.test({
    name: missing ? `${name} (${missing})` : name,
    ignore: missing !== null && !(adapter === null && required()),
    async fn(t) {
      const backend = await createWebGpuBackend(options);
      try {
        await run(backend, t);
      } finally {
        await backend.dispose();
      }
    },
  });
}
