/** Choosing a device, and making sure that it can count, before work begins. */
import { type Device, init, selfTest } from "@dit/core/tensor";
import { CommandError, messageOf } from "./errors.ts";

/** Devices that `--device` can name. */
export const DEVICES = ["auto", "webgpu", "wasm"] as const;

/** Thrown where a kernel of the device gives wrong numbers. */
export class SelfTestError extends CommandError {
  /** Tells it from other errors. */
  override readonly name = "SelfTestError";
}

/**
 * Sets up a device and checks it.
 *
 * @throws {CommandError} where it is not there.
 * @throws {SelfTestError} where it gives wrong numbers.
 */
export async function startDevice(device: typeof DEVICES[number]): Promise<Device> {
  let started: Device;
  try {
    started = await init({ device });
  } catch (error) {
    throw new CommandError(`--device ${device}: ${messageOf(error)}`, { cause: error });
  }
  try {
    await selfTest(started);
  } catch (error) {
    throw new SelfTestError(messageOf(error), { cause: error });
  }
  return started;
}

/** Such as "webgpu (NVIDIA ...)". */
export function deviceText(device: Device): string {
  return `${device.name} (${device.backend.description})`;
}

/** Most that a WebAssembly memory holds. */
const WASM_LIMIT = 16 * 2 ** 30;

/** Bytes that a device can hold in tensors; null where nobody tells. */
export function deviceLimit(device: Device): number | null {
  if (device.name !== "wasm") return null;
  const { state } = Deno.permissions.querySync({ name: "sys", kind: "systemMemoryInfo" });
  return state === "granted" ? Math.min(WASM_LIMIT, Deno.systemMemoryInfo().total) : WASM_LIMIT;
}
