import type { Backend } from "./backend.ts";
import { DeviceError } from "./errors.ts";
import { checkOptionNames } from "./options.ts";
import { type Device, MemoryLedger, type MemoryStats } from "./storage.ts";
import type { WasmBackend, WasmOptions } from "./wasm/backend.ts";
import type { GpuProvider, WebGpuOptions } from "./webgpu/backend.ts";

/** How to choose and set up a device. */
export interface InitOptions {
  /**
   * `"auto"` (the default) takes a hardware WebGPU adapter where there is one and WebAssembly
   * otherwise, also where the adapter cannot be opened, with a warning that says why; a software
   * adapter is used only when asked for with `"webgpu"`. `"reference"` is
   * plain float64 arithmetic, slow, for checking the others.
   */
  device?: "auto" | Backend["name"];
  /**
   * Where GPUs come from: any implementation of WebGPU's `GPU`, such as Dawn's (the npm package
   * `webgpu`); `navigator.gpu` unless given.
   */
  gpu?: GpuProvider;
  /** Settings of the WebAssembly device. */
  wasm?: WasmOptions;
  /** Settings of the WebGPU device. */
  webgpu?: WebGpuOptions;
}

/** Bytes and counts that `memory()` gives. */
export interface Memory extends MemoryStats {
  /** Bytes the device has taken from the system, pools and free lists included. */
  reservedBytes: number;
  /** Allocations made from the system since the start. */
  allocations: number;
}

const devices = new Map<Backend["name"], Device>();
/** Where the GPU of a device came from, where that was not `navigator.gpu`. */
const providers = new WeakMap<Device, GpuProvider>();
let current: Device | null = null;

/**
 * Sets up a device and makes it the one that new tensors are made on. Calling it again for a
 * device that is set up returns the same one.
 *
 * @throws {TypeError} where there is no such option.
 * @throws {DeviceError} where the device asked for is not there, or is set up on another `gpu`.
 */
export async function init(options: InitOptions = {}): Promise<Device> {
  checkOptionNames("init", options, { device: 1, gpu: 1, wasm: 1, webgpu: 1 });
  checkOptionNames("init: wasm", options.wasm ?? {}, {
    threads: 1,
    tier: 1,
    addressBits: 1,
    replay: 1,
  });
  checkOptionNames("init: webgpu", options.webgpu ?? {}, {
    half: 1,
    powerPreference: 1,
    freeBytesCap: 1,
    limits: 1,
    submitSeconds: 1,
    maxBindingBytes: 1,
    replay: 1,
    join: 1,
    traits: 1,
  });
  const asked = options.device ?? "auto";
  const device = asked === "auto" ? await setUpAny(options) : await setUp(asked, options);
  current = device;
  return device;
}

async function setUp(name: Backend["name"], options: InitOptions): Promise<Device> {
  let device = devices.get(name);
  if (!device) {
    device = { name, backend: await create(name, options), ledger: new MemoryLedger() };
    devices.set(name, device);
    if (options.gpu) providers.set(device, options.gpu);
  } else if (name === "webgpu" && options.gpu && providers.get(device) !== options.gpu) {
    throw new DeviceError(
      "init: expected the gpu that the webgpu device is set up on but got another; " +
        "call shutdown() on that device first",
    );
  }
  return device;
}

/** WebGPU on a hardware adapter where there is one that can be opened; WebAssembly otherwise. */
async function setUpAny(options: InitOptions): Promise<Device> {
  try {
    const { findAdapter, isSoftwareAdapter } = await import("./webgpu/device/adapter.ts");
    const found = await findAdapter(options.webgpu?.powerPreference, options.gpu);
    if (found && !isSoftwareAdapter(found)) return await setUp("webgpu", options);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    console.warn(`${reason}; computing on the CPU instead`);
  }
  return await setUp("wasm", options);
}

/** Backends are loaded when they are first asked for: a program on one never compiles the others. */
async function create(name: Backend["name"], options: InitOptions): Promise<Backend> {
  switch (name) {
    case "wasm": {
      const { createWasmBackend } = await import("./wasm/backend.ts");
      return await createWasmBackend(options.wasm ?? {});
    }
    case "webgpu": {
      const { createWebGpuBackend } = await import("./webgpu/backend.ts");
      return await createWebGpuBackend(options.webgpu, options.gpu);
    }
    case "reference": {
      const { createReferenceBackend } = await import("./reference/backend.ts");
      return createReferenceBackend();
    }
    default:
      name satisfies never;
      throw new DeviceError(
        `init: expected device "auto", "webgpu", "wasm" or "reference" but got "${name}"`,
      );
  }
}

/** The device that new tensors are made on. */
export function currentDevice(): Device {
  if (!current) throw new DeviceError("no device yet: expected `await init()` before any tensor");
  return current;
}

/** Makes `device` the one that new tensors are made on; returns the one before. */
export function setDevice(device: Device): Device | null {
  const before = current;
  current = device;
  return before;
}

/** Shuts a device down; its tensors are gone. */
export async function shutdown(device: Device): Promise<void> {
  devices.delete(device.name);
  if (current === device) current = null;
  await device.backend.dispose();
}

/** What live tensors hold on a device, and the most they held. */
export function memory(device: Device = currentDevice()): Memory {
  const { liveBytes, peakBytes, tensors, storages } = device.ledger;
  return { liveBytes, peakBytes, tensors, storages, ...device.backend.memory() };
}

/** Resets the peak to what live tensors hold. */
export function resetPeak(device: Device = currentDevice()): void {
  device.ledger.peakBytes = device.ledger.liveBytes;
}

/**
 * Sets how many threads the WebAssembly device works with, the calling one included; as many as
 * there are cores by default. No result depends on it.
 *
 * @throws {DeviceError} on other devices, and where threads cannot be started.
 */
export async function setNumThreads(
  count: number,
  device: Device = currentDevice(),
): Promise<void> {
  if (device.name !== "wasm") {
    throw new DeviceError(`setNumThreads: expected the wasm device but got ${device.name}`);
  }
  await (device.backend as WasmBackend).setThreads(count);
}
