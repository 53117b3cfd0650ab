/**
 * The executable specification of the kernel contract: every kernel in plain float64 loops. The
 * conformance suite holds the fast devices to it, and gradient checks run on it because finite
 * differences need more digits than float32 has. It is slow, on one thread, and has no limits.
 */
import { arraysOf, checkArguments } from "../arguments.ts";
import type { Backend, BackendMemory } from "../backend.ts";
import { KERNEL_NAMES, type KernelArgs, type KernelName } from "../kernels.ts";
import type { DeviceBuffer, View } from "../view.ts";
import { type DType, dtypeOf, type HostArray } from "../dtype.ts";
import { IndexError } from "../errors.ts";
import { sizeOf } from "../shape.ts";
import { attention, attentionGrad, attentionGradTrials, attentionTrials } from "./attention.ts";
import { elementPlaces, elementsOf, floatsOf, ReferenceBuffer } from "./buffer.ts";
import { conv2d, conv2dGradWeight, conv2dGradWeightTrials, conv2dTrials } from "./conv.ts";
import { elementwise, elementwiseTrials } from "./elementwise.ts";
import { gateGrad, gateGradTrials } from "./gate.ts";
import { gather, gatherTrials, scatterAdd, scatterAddTrials } from "./gather.ts";
import { matmul, matmulTrials } from "./matmul.ts";
import {
  groupNorm,
  groupNormGrad,
  groupNormGradTrials,
  groupNormTrials,
  layerNorm,
  layerNormGrad,
  layerNormGradTrials,
  layerNormTrials,
} from "./norm.ts";
import {
  argReduce,
  argReduceTrials,
  cumsum,
  cumsumTrials,
  reduce,
  reduceTrials,
} from "./reduce.ts";
import { rotary, rotaryTrials } from "./rotary.ts";
import { softmax, softmaxGrad, softmaxGradTrials, softmaxTrials } from "./softmax.ts";
import type { Trials } from "./trial.ts";

/** A kernel in float64, and small calls of it for the self-test of devices. */
interface ReferenceKernel<K extends KernelName> {
  readonly run: (args: KernelArgs[K]) => void;
  readonly trials: Trials<K>;
}

/** Every kernel; a missing one does not compile. */
export const REFERENCE: { readonly [K in KernelName]: ReferenceKernel<K> } = {
  elementwise: { run: elementwise, trials: elementwiseTrials },
  reduce: { run: reduce, trials: reduceTrials },
  argReduce: { run: argReduce, trials: argReduceTrials },
  cumsum: { run: cumsum, trials: cumsumTrials },
  matmul: { run: matmul, trials: matmulTrials },
  softmax: { run: softmax, trials: softmaxTrials },
  softmaxGrad: { run: softmaxGrad, trials: softmaxGradTrials },
  rotary: { run: rotary, trials: rotaryTrials },
  layerNorm: { run: layerNorm, trials: layerNormTrials },
  layerNormGrad: { run: layerNormGrad, trials: layerNormGradTrials },
  gateGrad: { run: gateGrad, trials: gateGradTrials },
  groupNorm: { run: groupNorm, trials: groupNormTrials },
  groupNormGrad: { run: groupNormGrad, trials: groupNormGradTrials },
  conv2d: { run: conv2d, trials: conv2dTrials },
  conv2dGradWeight: { run: conv2dGradWeight, trials: conv2dGradWeightTrials },
  attention: { run: attention, trials: attentionTrials },
  attentionGrad: { run: attentionGrad, trials: attentionGradTrials },
  gather: { run: gather, trials: gatherTrials },
  scatterAdd: { run: scatterAdd, trials: scatterAddTrials },
};

/** Rounds an f16 view's elements to what f16 can hold, as storing them there would. */
function roundToHalf(view: View): void {
  const data = floatsOf(view);
  const place = new Float64Array(sizeOf(view.shape));
  elementPlaces(view, 0, place.length, place);
  const half = new Float16Array(1); // Node has no Math.f16round
  for (const at of place) {
    half[0] = data[at]!;
    data[at] = half[0];
  }
}

class ReferenceBackend implements Backend {
  readonly name = "reference";
  readonly isBatchInvariant = true;
  readonly description = "float64 reference, one thread";
  readonly halfKernels: ReadonlySet<KernelName> = new Set(KERNEL_NAMES);
  #memory: BackendMemory = { reservedBytes: 0, allocations: 0 };

  alloc(bytes: number, op: string): DeviceBuffer {
    this.#memory.reservedBytes += bytes;
    this.#memory.allocations++;
    return new ReferenceBuffer(bytes, op);
  }

  free(buffer: DeviceBuffer): void {
    const block = buffer as ReferenceBuffer;
    if (block.freed) throw new Error("reference: a buffer was freed twice");
    block.release();
    this.#memory.reservedBytes -= buffer.bytes;
  }

  write(buffer: DeviceBuffer, offset: number, data: HostArray): void {
    const block = buffer as ReferenceBuffer;
    // float64 values may go into an f16 buffer too; its dtype is known from earlier use
    const dtype = data instanceof Float64Array && block.dtype === "f16" ? "f16" : dtypeOf(data)!;
    block.elements(dtype).set(dtype === "f16" ? new Float16Array(data) : data, offset);
  }

  read(
    buffer: DeviceBuffer,
    dtype: DType,
    offset: number,
    length: number,
  ): Promise<HostArray> {
    return Promise.resolve(
      (buffer as ReferenceBuffer).elements(dtype).slice(offset, offset + length),
    );
  }

  run<K extends KernelName>(kernel: K, args: KernelArgs[K], op: string): void {
    checkArguments(kernel, args, op);
    REFERENCE[kernel].run(args);
    for (const { view, use } of arraysOf(kernel, args)) {
      if (use !== "read" && view.dtype === "f16") roundToHalf(view);
    }
  }

  checkIndices(index: View, limit: number, op: string): void {
    const data = elementsOf(index);
    const places = new Float64Array(sizeOf(index.shape));
    elementPlaces(index, 0, places.length, places);
    for (const place of places) {
      const value = data[place]!;
      if (!(value >= 0 && value < limit)) {
        throw new IndexError(`${op}: expected indices in [0, ${limit}) but got ${value}`);
      }
    }
  }

  flush(): void {}

  ready(): Promise<void> {
    return Promise.resolve();
  }

  sync(): Promise<void> {
    return Promise.resolve();
  }

  memory(): BackendMemory {
    return { ...this.#memory };
  }

  dispose(): Promise<void> {
    return Promise.resolve();
  }
}

/** A device that computes everything in float64, in the plainest way. */
export function createReferenceBackend(): Backend {
  return new ReferenceBackend();
}
