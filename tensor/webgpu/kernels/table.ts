/** Every kernel's launcher; a missing one does not compile. */
import type { KernelTable } from "../../kernels.ts";
import { argReduce } from "./arg_reduce.ts";
import { attention } from "./attention.ts";
import { attentionGrad } from "./attention_grad.ts";
import { conv2d, conv2dGradWeight } from "./conv.ts";
import { cumsum } from "./cumsum.ts";
import { elementwise } from "./elementwise.ts";
import { gateGrad } from "./gate_grad.ts";
import { gather, scatterAdd } from "./gather.ts";
import { groupNorm, groupNormGrad } from "./group_norm.ts";
import { layerNorm } from "./layer_norm.ts";
import { layerNormGrad } from "./layer_norm_grad.ts";
import { matmul } from "./matmul.ts";
import { reduce } from "./reduce.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import { rotary } from "./rotary.ts";
import { softmax, softmaxGrad } from "./softmax.ts";

export const LAUNCHERS: KernelTable<WebGpuRuntime> = {
  elementwise,
  reduce,
  argReduce,
  cumsum,
  matmul,
  softmax,
  softmaxGrad,
  rotary,
  layerNorm,
  layerNormGrad,
  gateGrad,
  groupNorm,
  groupNormGrad,
  conv2d,
  conv2dGradWeight,
  attention,
  attentionGrad,
  gather,
  scatterAdd,
};
