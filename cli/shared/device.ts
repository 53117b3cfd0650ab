/** Choosing a device, and making sure that it can count, before work begins. */
import { type Device, init, selfTest } from "@dit/core/tensor";
import { CommandError, messageOf } from "./errors.ts";

/** Devices that `--device` can name. */
export const DEVICES = ["auto", "webgpu", "wasm"] as const;

/** Thrown where a kernel of the device gives wrong numbers. */
export class SelfTestError extends CommandError {
  static {
    this.prototype.name = "SelfTestError";
  }
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

/** Bytes that a device can hold in tensors; null where it is not known. */
export function deviceLimit({ backend }: Device): number | null {
  if (!("maxBytes" in backend && typeof backend.maxBytes === "number")) return null;
  const { state } = Deno.permissions.querySync({ name: "sys", kind: "systemMemoryInfo" });
  if (state !== "granted") return backend.maxBytes;
  return Math.min(backend.maxBytes, Deno.systemMemoryInfo().total);
}
