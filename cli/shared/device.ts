/** Choosing a device, and testing its kernels before work begins. */
import { type Device, init, selfTest } from "@dit/core/tensor";
import { refuseSharedGpu, takeGpu } from "../distributed/gpus.ts";
import { ALONE, type World } from "../distributed/world.ts";
import { CommandError, messageOf } from "./errors.ts";

/** Devices that `--device` can name. */
export const DEVICES = ["auto", "webgpu", "wasm"] as const;

/**
 * Thrown where a kernel gives wrong numbers in the fast tier, which needs experimental V8 flags:
 * `launch.ts` starts the command again without them.
 */
export class FastTierError extends CommandError {
  static {
    this.prototype.name = "FastTierError";
  }
}

/**
 * Sets up a device and checks it.
 *
 * @param world The processes that share this machine's cores and GPUs; collective then.
 * @throws {CommandError} where it is not there, or gives wrong numbers.
 * @throws {FastTierError} where it gives wrong numbers in the fast tier.
 */
export async function startDevice(
  device: typeof DEVICES[number],
  world: World = ALONE,
): Promise<Device> {
  const { threads } = world;
  let started: Device;
  if (device !== "wasm") await takeGpu(world);
  try {
    started = await init({ device, ...(threads === null ? {} : { wasm: { threads } }) });
  } catch (error) {
    throw new CommandError(`--device ${device}: ${messageOf(error)}`, { cause: error });
  }
  const { backend } = started;
  await refuseSharedGpu(world, "isSoftware" in backend && !backend.isSoftware);
  try {
    await selfTest(started);
  } catch (error) {
    throw failedTest(started, messageOf(error));
  }
  return started;
}

/** The error of a device that failed its test, with what can be done. */
export function failedTest({ name, backend }: Device, message: string): CommandError {
  if ("tier" in backend && backend.tier === "fast") {
    return new FastTierError(message);
  }
  return new CommandError(name === "webgpu" ? `${message}; use --device wasm` : message);
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
