/** Running a test on every device present. */
import { type Device, init, memory, setDevice } from "../tensor/mod.ts";
import { findAdapter } from "../tensor/webgpu/backend.ts";
import { isSoftwareAdapter } from "../tensor/webgpu/device/adapter.ts";
import { env, granted } from "./fixtures.ts";

/**
 * Devices that tests run on; the reference only where asked for. "gpu" is WebGPU where shaders
 * compile quickly, for what compiles many and says of WebGPU what another test says as well.
 */
export type TestDevice = "wasm" | "webgpu" | "gpu" | "reference";

/** Whether CI, say, wants a missing WebGPU adapter to be a failure. */
export const requireWebGpu: boolean = env("DIT_REQUIRE_WEBGPU") === "1";

/** Sets Mesa's software adapter up for tests, which run each shader once or twice. */
function prepareMesa(): void {
  if (!granted({ name: "env" })) return;
  // keeps a layer of Mesa's from complaining on standard error
  setVariable("NODEVICE_SELECT", "1");
  // without its optimiser a shader is compiled in four fifths of the time
  setVariable("GALLIVM_PERF", "nopt");
}

/** Once a process: another test file's drivers may be reading the environment. */
function setVariable(name: string, value: string): void {
  if (env(name) !== value) Deno.env.set(name, value);
}

/** The GPU that tests run on, or null where there is none. */
export const adapter: GPUAdapter | null = await (async () => {
  prepareMesa();
  return await findAdapter();
})();

/** Why there is no WebGPU here, or undefined where there is. */
export const webgpuMissing: string | undefined = adapter
  ? undefined
  : navigator.gpu
  ? "no WebGPU adapter"
  : "this runtime has no WebGPU";

/** Whether every case is to run on WebGPU: a software adapter compiles a shader for a second. */
export const everyWebGpu: boolean = env("DIT_WEBGPU_ALL") === "1" ||
  adapter === null || !isSoftwareAdapter(adapter);

/** Why tests that open WebGPU themselves are not run, or undefined where they are. */
export const noWebGpu: string | undefined = requireWebGpu ? undefined : webgpuMissing;

/** Why a test is not run on a device, or undefined where it is. */
function ignored(device: TestDevice): string | undefined {
  if (device !== "webgpu" && device !== "gpu") return undefined;
  if (device === "gpu" && !everyWebGpu) return "a software adapter; DIT_WEBGPU_ALL=1 for all";
  return noWebGpu;
}

/**
 * Registers a test once for each device. Without a WebGPU adapter that one is ignored, and its
 * name says why, unless `DIT_REQUIRE_WEBGPU=1`. One of "gpu" is ignored on a software adapter as
 * well, unless `DIT_WEBGPU_ALL=1`.
 *
 * The test must leave no tensor behind.
 */
export function eachDevice(
  name: string,
  run: (device: Device) => void | Promise<void>,
  devices: readonly TestDevice[] = ["wasm", "webgpu"],
): void {
  for (const device of devices) {
    const missing = ignored(device);
    const backend = device === "gpu" ? "webgpu" : device;
    Deno.test({
      name: `${name} [${backend}]${missing ? ` (${missing})` : ""}`,
      ignore: missing !== undefined,
      // devices keep their threads and buffers from test to test
      sanitizeResources: false,
      sanitizeOps: false,
      fn: async () => {
        const set = await init({ device: backend });
        const before = memory(set).tensors;
        await run(set);
        setDevice(set);
        const left = memory(set).tensors - before;
        if (left !== 0) throw new Error(`the test left ${left} tensors behind`);
      },
    });
  }
}

/** Largest |got - want| over the largest |want|. */
export function scaledError(got: ArrayLike<number>, want: ArrayLike<number>): number {
  if (got.length !== want.length) return Infinity;
  let [worst, scale] = [0, 0];
  for (let i = 0; i < want.length; i++) {
    scale = Math.max(scale, Math.abs(want[i]!));
    if (Object.is(got[i], want[i]) || got[i] === want[i]) continue;
    const off = Math.abs(got[i]! - want[i]!);
    worst = Number.isNaN(off) ? Infinity : Math.max(worst, off);
  }
  return worst === 0 ? 0 : worst / (scale || 1);
}

/** Largest |got - want|. */
export function absoluteError(got: ArrayLike<number>, want: ArrayLike<number>): number {
  if (got.length !== want.length) return Infinity;
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    if (Object.is(got[i], want[i])) continue;
    const off = Math.abs(got[i]! - want[i]!);
    worst = Number.isNaN(off) ? Infinity : Math.max(worst, off);
  }
  return worst;
}
