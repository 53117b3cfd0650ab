/** Tests on a GPU: they skip where there is none, and say so. */
import { createWebGpuBackend, type WebGpuBackend, type WebGpuOptions } from "../backend.ts";
import { adapter, requireWebGpu } from "../../../tests/devices.ts";

const hasHalf = adapter?.features.has("shader-f16") ?? false;

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
    ignore: missing !== null && !(adapter === null && requireWebGpu),
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
