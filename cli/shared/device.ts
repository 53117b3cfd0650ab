/** Choosing a device, and testing its kernels before work begins. */
import { type Device, init, selfTest } from "@dit/core/tensor";
import { refuseSharedGpu, takeGpu } from "../distributed/gpus.ts";
import { ALONE, type World } from "../distributed/world.ts";
import { choosePlans, type PlanChoice } from "../tuning/plans.ts";
import { DAWN, openDawn } from "./dawn.ts";
import { CommandError, messageOf, UsageError } from "./errors.ts";

/** Devices that `--device` can name. */
export const DEVICES = ["auto", "webgpu", "wasm"] as const;

/** Implementations of WebGPU that `--gpu` can name: Deno's own, or Dawn. */
export const GPUS = ["deno", "dawn"] as const;

/** What a command computes on, as its flags ask for it. */
export interface AskedDevice extends PlanChoice {
  /** `"auto"` where it is left out. */
  readonly device?: typeof DEVICES[number] | undefined;
  /** `"deno"` where it is left out. */
  readonly gpu?: typeof GPUS[number] | undefined;
  /** Whether what models launch is replayed; it is where this is left out. */
  readonly replay?: boolean | undefined;
}

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
 * Sets up a device and checks it. Who names Dawn wants a GPU, and nothing else instead.
 *
 * @param world The processes that share this machine's cores and GPUs; collective then.
 * @throws {UsageError} where a GPU is asked for and refused.
 * @throws {CommandError} where it is not there, or gives wrong numbers.
 * @throws {FastTierError} where it gives wrong numbers in the fast tier.
 */
export async function startDevice(
  { device: asked = "auto", gpu: kind = "deno", replay = true, ...plans }: AskedDevice,
  world: World = ALONE,
): Promise<Device> {
  const { threads } = world;
  const isDawn = kind === "dawn";
  if (isDawn && asked === "wasm") {
    throw new UsageError("--gpu dawn: expected --device webgpu or none but got --device wasm");
  }
  const device = isDawn ? "webgpu" : asked;
  let started: Device;
  if (device !== "wasm") await takeGpu(world);
  if (isDawn && world.rank === 0) {
    console.error(`gpu      Dawn (${DAWN}), native code that Deno fetches from npm the first time`);
  }
  const dawn = isDawn ? await openDawn() : null;
  try {
    started = await init({
      device,
      ...(dawn === null ? {} : { gpu: dawn.gpu }),
      webgpu: { replay },
      wasm: { replay, ...(threads === null ? {} : { threads }) },
    });
  } catch (error) {
    dawn?.close();
    const flag = isDawn ? "--gpu dawn" : `--device ${device}`;
    throw new CommandError(`${flag}: ${messageOf(error)}`, { cause: error });
  }
  const { backend } = started;
  await refuseSharedGpu(world, "isSoftware" in backend && !backend.isSoftware);
  await choosePlans(started, world, { ...plans, gpu: kind });
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
