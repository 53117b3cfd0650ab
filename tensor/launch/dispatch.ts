/** Running the kernels that are not elementwise; f16 by way of f32 where a device needs it. */
import { type ArrayUse, type KernelArgs, type KernelName, KERNELS } from "../kernels.ts";
import type { View } from "../view.ts";
import type { Device } from "../storage.ts";
import { empty, type Tensor } from "../tensor.ts";
import { evaluateInto } from "./elementwise.ts";
import { convertTo } from "./formulas.ts";

const WIDEN = convertTo("f32");

/** Kernels that have a launcher of their own here. */
export type OpKernel = Exclude<KernelName, "elementwise">;

/** Kernel arguments with tensors in place of views. */
export type TensorArgs<K extends KernelName> = {
  [P in keyof KernelArgs[K]]: KernelArgs[K][P] extends View[] ? Tensor[]
    : KernelArgs[K][P] extends View ? Tensor
    : KernelArgs[K][P] extends View | null | undefined ? Tensor | null
    : KernelArgs[K][P];
};

/** Starts `kernel`. Float arguments may be f16 on any device. */
export function dispatch<K extends OpKernel>(
  op: string,
  kernel: K,
  device: Device,
  args: TensorArgs<K>,
): void {
  const uses = KERNELS[kernel].arrays as Readonly<Record<string, ArrayUse>>;
  const native = device.backend.halfKernels.has(kernel);
  const temporaries: Tensor[] = [];
  const after: (() => void)[] = [];
  const widen = (t: Tensor, use: ArrayUse): Tensor => {
    if (native || t.dtype !== "f16") return t;
    const wide = empty(device, "f32", t.shape, op);
    temporaries.push(wide);
    const accumulates = use === "accumulate" && "accumulate" in args && args.accumulate;
    if (use === "read" || accumulates) evaluateInto(op, WIDEN, [t], [wide]);
    if (use !== "read") after.push(() => evaluateInto(op, WIDEN, [wide], [t]));
    return wide;
  };
  const views: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(args)) {
    const use = uses[name];
    if (use === undefined || !value) views[name] = value;
    else if (Array.isArray(value)) views[name] = value.map((t) => widen(t, use).view(op));
    else views[name] = widen(value as Tensor, use).view(op);
  }
  device.backend.run(kernel, views as unknown as KernelArgs[K], op);
  after.forEach((then) => then());
  temporaries.forEach((t) => t.dispose());
}
