/** Running the kernels that are not elementwise; f16 by way of f32 where a device needs it. */
import type { KernelArgs, KernelName, View } from "../backend.ts";
import type { Device } from "../storage.ts";
import { empty, type Tensor } from "../tensor.ts";
import { evaluateInto } from "./elementwise.ts";
import { convertTo } from "./formulas.ts";

const WIDEN = convertTo("f32");

/** Kernels that have a launcher of their own here. */
export type OpKernel = Exclude<KernelName, "elementwise">;

/** What a kernel writes; everything else it is given it only reads. */
const OUTPUTS: { readonly [K in OpKernel]: readonly (keyof KernelArgs[K])[] } = {
  reduce: ["out"],
  argReduce: ["out"],
  cumsum: ["out"],
  matmul: ["pre", "out"],
  softmax: ["out"],
  softmaxGrad: ["out"],
  layerNorm: ["out", "mean", "rstd"],
  layerNormGrad: ["dx", "dWeight", "dBias", "dScale", "dShift"],
  groupNorm: ["out", "mean", "rstd"],
  groupNormGrad: ["dx", "dWeight", "dBias"],
  conv2d: ["out"],
  conv2dGradWeight: ["out"],
  attention: ["out", "stats"],
  attentionGrad: ["dq", "dk", "dv"],
  gather: ["out"],
  scatterAdd: ["out"],
};

/** Kernel arguments with tensors in place of views. */
export type TensorArgs<K extends KernelName> = {
  [P in keyof KernelArgs[K]]: KernelArgs[K][P] extends View[] ? Tensor[]
    : KernelArgs[K][P] extends View ? Tensor
    : KernelArgs[K][P] extends View | null ? Tensor | null
    : KernelArgs[K][P];
};

function isTensor(value: unknown): value is Tensor {
  return typeof value === "object" && value !== null && "storage" in value;
}

/** Starts `kernel`. Float arguments may be f16 on any device. */
export function dispatch<K extends OpKernel>(
  op: string,
  kernel: K,
  device: Device,
  args: TensorArgs<K>,
): void {
  const outputs = OUTPUTS[kernel] as readonly string[];
  const native = device.backend.halfKernels.has(kernel);
  const temporaries: Tensor[] = [];
  const after: (() => void)[] = [];
  const widen = (t: Tensor, written: boolean): Tensor => {
    if (native || t.dtype !== "f16") return t;
    const wide = empty(device, "f32", t.shape, op);
    temporaries.push(wide);
    const reads = !written || (kernel === "matmul" && (args as TensorArgs<"matmul">).accumulate);
    if (reads) evaluateInto(op, WIDEN, [t], [wide]);
    if (written) after.push(() => evaluateInto(op, WIDEN, [wide], [t]));
    return wide;
  };
  const views: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(args)) {
    if (isTensor(value)) views[name] = widen(value, outputs.includes(name)).view(op);
    else if (name === "ins") views[name] = (value as Tensor[]).map((t) => widen(t, false).view(op));
    else views[name] = value;
  }
  device.backend.run(kernel, views as unknown as KernelArgs[K], op);
  after.forEach((then) => then());
  temporaries.forEach((t) => t.dispose());
}
