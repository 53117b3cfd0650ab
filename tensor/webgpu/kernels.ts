/** Every kernel's launcher; a missing one does not compile. */
import type { KernelArgs, KernelName } from "../backend.ts";
import { argReduce } from "./arg_reduce.ts";
import { cumsum } from "./cumsum.ts";
import { elementwise } from "./elementwise.ts";
import { gather, scatterAdd } from "./gather.ts";
import { reduce } from "./reduce.ts";
import type { WebGpuRuntime } from "./runtime.ts";

type Launchers = {
  readonly [K in KernelName]: (runtime: WebGpuRuntime, args: KernelArgs[K], op: string) => void;
};

export const KERNELS = {
  elementwise,
  reduce,
  argReduce,
  cumsum,
  gather,
  scatterAdd,
} as Partial<Launchers> as Launchers;
