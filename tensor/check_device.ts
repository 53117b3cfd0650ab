/**
 * The self-test of a device: one or two small cases of every kernel, compared with float64. It finds
 * devices that compute wrong numbers (experimental instructions of V8, a GPU's driver) before hours
 * of work begin; the conformance suite tests every kernel in every case.
 */
import type { Backend } from "./backend.ts";
import { KERNEL_NAMES, type KernelName } from "./kernels.ts";
import type { HostArray } from "./dtype.ts";
import { SelfTestError } from "./errors.ts";
import { Arrays, type Trials } from "./reference/trial.ts";
import type { Device } from "./storage.ts";

/** Limits of max|got - want| / max|want| by the type that a case's arrays have. */
const TOLERANCE = { f32: 1e-4, f16: 5e-3 } as const;

/** Largest |got - want| over the largest |want|; infinite where one of them is not a number. */
function errorOf(got: HostArray, want: HostArray): number {
  let [worst, largest] = [0, 0];
  for (let i = 0; i < want.length; i++) {
    largest = Math.max(largest, Math.abs(want[i]!));
    const off = Math.abs(got[i]! - want[i]!);
    worst = Number.isNaN(off) ? Infinity : Math.max(worst, off);
  }
  return worst / (largest || 1);
}

/** Starts a trial, and reads what it wrote once it is done. */
function start<K extends KernelName>(
  backend: Backend,
  kernel: K,
  build: Trials<K>[number],
  dtype: "f32" | "f16",
): Promise<HostArray[]> {
  const arrays = new Arrays(backend, dtype);
  try {
    backend.run(kernel, build(arrays), "selfTest");
    return arrays.read();
  } finally {
    arrays.free(); // reused only by later work
  }
}

/** Makes all trials of a kernel at once. */
async function tryKernel<K extends KernelName>(
  backend: Backend,
  reference: Backend,
  kernel: K,
  trials: Trials<K>,
): Promise<void> {
  const dtypes = backend.halfKernels.has(kernel) ? ["f32", "f16"] as const : ["f32"] as const;
  await Promise.all(dtypes.flatMap((dtype) =>
    trials.map(async (build) => {
      const got = await start(backend, kernel, build, dtype);
      const want = await start(reference, kernel, build, dtype);
      const off = Math.max(...want.map((values, i) => errorOf(got[i]!, values)));
      if (off <= TOLERANCE[dtype]) return;
      throw new SelfTestError(
        `${backend.description}: kernel ${kernel} gives wrong numbers in ${dtype}: expected ` +
          `errors of at most ${TOLERANCE[dtype]} but got ${off}`,
      );
    })
  ));
}

/**
 * Enough where a CPU stands in for a GPU, for trying things out: to compile all kernels takes it
 * half a minute, which GPUs do in less than a second.
 */
const FEW: readonly KernelName[] = ["elementwise", "matmul"];

/**
 * Tries the kernels of a device, in f16 too where it reads that itself, and compares with float64.
 *
 * @param kernels by default all, or {@link FEW} of a GPU that is software
 * @throws {SelfTestError} that names the first kernel that failed or gave wrong numbers.
 */
export async function selfTest(
  { backend }: Device,
  kernels: readonly KernelName[] = backend.isSoftware ? FEW : KERNEL_NAMES,
): Promise<void> {
  const { createReferenceBackend, REFERENCE } = await import("./reference/backend.ts");
  const reference = createReferenceBackend();
  const attempt = <K extends KernelName>(kernel: K) =>
    tryKernel(backend, reference, kernel, REFERENCE[kernel].trials);
  // All at once, as each wait for a GPU takes long; one by one where something is wrong.
  const all = await Promise.allSettled(kernels.map((name) => attempt(name)));
  if (all.every(({ status }) => status === "fulfilled")) return;
  for (const kernel of kernels) {
    try {
      await attempt(kernel);
    } catch (error) {
      if (error instanceof SelfTestError) throw error;
      const message = error instanceof Error ? error.message : String(error);
      throw new SelfTestError(`${backend.description}: kernel ${kernel} failed: ${message}`, {
        cause: error,
      });
    }
  }
  throw all.find((outcome) => outcome.status === "rejected")!.reason;
}
