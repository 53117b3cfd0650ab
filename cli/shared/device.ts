/** Choosing a device, and making sure that it can count, before work begins. */
import { matmul } from "@dit/core/autograd";
import { type Device, Generator, init, randn, scope, type Tensor } from "@dit/core/tensor";
import { CommandError, messageOf } from "./errors.ts";

/** Devices that `--device` can name. */
export const DEVICES = ["auto", "webgpu", "wasm"] as const;

/** Products that use whole tiles, and rests of them in each direction: M, N, K. */
const PROBES = [[48, 64, 40], [7, 19, 33]] as const;

/** Thrown where a device computes nonsense. */
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
  await selfTest(started);
  return started;
}

/** Compares small products with plain arithmetic. */
async function selfTest(device: Device): Promise<void> {
  using _ = scope("self-test");
  const generator = new Generator(1);
  for (const [m, n, k] of PROBES) {
    const a = randn([m, k], { generator, device });
    const b = randn([k, n], { generator, device });
    const off = await worstError(matmul(a, b), a, b);
    if (!(off < 1e-4)) {
      throw new SelfTestError(
        `${device.backend.description}: a product of ${m}x${k} and ${k}x${n} is off by ${off}`,
      );
    }
  }
}

async function worstError(product: Tensor, a: Tensor, b: Tensor): Promise<number> {
  const [got, x, y] = [await product.data(), await a.data(), await b.data()];
  const [m, k] = a.shape as [number, number];
  const n = b.shape[1]!;
  let worst = 0;
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let want = 0;
      for (let l = 0; l < k; l++) want += x[i * k + l]! * y[l * n + j]!;
      const off = Math.abs(got[i * n + j]! - want);
      worst = Number.isNaN(off) ? Infinity : Math.max(worst, off);
    }
  }
  return worst;
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
