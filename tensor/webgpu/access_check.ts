/** Holds what a kernel's shaders bind to what its descriptor says; for debug mode. */
import { arraysOf, overlap } from "../arguments.ts";
import type { KernelArgs, KernelName } from "../kernels.ts";
import { DeviceError } from "../errors.ts";
import type { WebGpuRuntime } from "./device/runtime.ts";
import type { ViewBinding } from "./shader/accessors.ts";

/**
 * Calls `launch`, which dispatches the shaders of a kernel.
 *
 * @throws {DeviceError} where they may write an array that the kernel only reads, or bind none for
 * writing that it writes.
 */
export function checkAccesses<K extends KernelName>(
  runtime: WebGpuRuntime,
  kernel: K,
  args: KernelArgs[K],
  op: string,
  launch: () => void,
): void {
  const bound: ViewBinding[] = [];
  runtime.onDispatch = ({ views }) => bound.push(...views);
  try {
    launch();
  } finally {
    runtime.onDispatch = null;
  }
  const arrays = arraysOf(kernel, args);
  const own = bound.filter(({ view }) => arrays.some((array) => overlap(array.view, view)));
  const written = own.filter(({ access }) => access !== "read");
  for (const { name, view } of written) {
    if (!arrays.some((array) => array.use !== "read" && overlap(array.view, view))) {
      throw new DeviceError(
        `${op}: expected ${kernel} to write outputs only but its shader may write "${name}"`,
      );
    }
  }
  for (const { name, use, view } of arrays) {
    if (use !== "read" && !written.some((binding) => overlap(binding.view, view))) {
      throw new DeviceError(`${op}: expected ${kernel} to write "${name}" but no shader can`);
    }
  }
}
