/** What each kernel of a step takes, beside what its arithmetic and its bytes ask for. */
import type { Backend } from "../../tensor/backend.ts";
import { type KernelArgs, type KernelName, KERNELS } from "../../tensor/kernels.ts";
import type { View } from "../../tensor/view.ts";
import { DTYPE_BYTES } from "../../tensor/dtype.ts";
import { sizeOf } from "../../tensor/shape.ts";

/** Launches of one kernel by one op, in one step. */
export interface KernelWork {
  readonly op: string;
  readonly kernel: KernelName;
  launches: number;
  /** Of products, attention and convolutions; 0 where a kernel is bound by memory. */
  flops: number;
  /** Distinct bytes that are read and written, each launch on its own. */
  bytes: number;
  seconds: number;
}

/** What a machine does at best. */
export interface Rates {
  /** Operations a second of a large matrix product. */
  readonly product: number;
  /** Bytes a second that a copy reads and writes. */
  readonly copy: number;
}

/** Products inside of a kernel: operations of one, of [M, K] by [K, N] in so many batches. */
function product(batches: number, m: number, n: number, k: number): number {
  return 2 * batches * m * n * k;
}

/** Operations of kernels that are products in essence; others are bound by memory. */
const FLOPS: { readonly [K in KernelName]?: (args: KernelArgs[K]) => number } = {
  matmul: ({ a, out }) => 2 * sizeOf(out.shape) * a.shape[3]!,
  conv2d: ({ w, out }) => 2 * sizeOf(out.shape) * sizeOf(w.shape.slice(1)),
  conv2dGradWeight: ({ g, out }) => 2 * sizeOf(g.shape) * sizeOf(out.shape.slice(1)),
  attention: ({ q, k }) => 2 * attentionProduct(q, k),
  // scores and their gradient, and the gradients of q, k and v
  attentionGrad: ({ q, k }) => 5 * attentionProduct(q, k),
};

function attentionProduct({ shape: [b, h, t, d] }: View, k: View): number {
  return product(b! * h!, t!, k.shape[2]!, d!);
}

/** Operations of a launch: 0 where it is bound by memory. */
export function flopsOf<K extends KernelName>(kernel: K, args: KernelArgs[K]): number {
  return FLOPS[kernel]?.(args) ?? 0;
}

/** Bytes that a launch reads and writes at least; an element that repeats counts once. */
export function bytesOf<K extends KernelName>(kernel: K, args: KernelArgs[K]): number {
  const given = args as unknown as Record<string, View | View[] | boolean | null | undefined>;
  let bytes = 0;
  for (const [name, use] of Object.entries(KERNELS[kernel].arrays)) {
    const views = given[name] as View | View[] | null | undefined;
    const times = use === "accumulate" && given.accumulate ? 2 : 1;
    for (const view of [views ?? []].flat()) {
      let size = DTYPE_BYTES[view.dtype];
      view.shape.forEach((length, i) => size *= view.strides[i] === 0 ? 1 : length);
      bytes += times * size;
    }
  }
  return bytes;
}

/** The least time that a machine of such rates takes for it. */
export function leastSeconds({ flops, bytes }: KernelWork, rates: Rates): number {
  return flops > 0 ? flops / rates.product : bytes / rates.copy;
}

/**
 * Takes steps and times their kernels, on a device whose kernels are done when `run` returns.
 *
 * @returns The shortest step, and each kernel of it by op, the longest first: what the step takes
 * beyond its kernels is the host's.
 */
export async function profile(
  backend: Backend,
  step: () => void | Promise<void>,
  steps: number,
): Promise<{ kernels: KernelWork[]; seconds: number }> {
  let kernels: KernelWork[] = [];
  let seconds = Infinity;
  const run = backend.run;
  for (let i = 0; i < steps; i++) {
    const found = new Map<string, KernelWork>();
    backend.run = (kernel, args, op) => {
      const start = performance.now();
      run.call(backend, kernel, args, op);
      const taken = (performance.now() - start) / 1000;
      const name = `${op} ${kernel}`;
      let row = found.get(name);
      if (!row) {
        found.set(name, row = { op, kernel, launches: 0, flops: 0, bytes: 0, seconds: 0 });
      }
      row.launches++;
      row.seconds += taken;
      row.flops += flopsOf(kernel, args);
      row.bytes += bytesOf(kernel, args);
    };
    const start = performance.now();
    try {
      await step();
    } finally {
      backend.run = run;
    }
    const taken = (performance.now() - start) / 1000;
    if (taken < seconds) {
      seconds = taken;
      kernels = [...found.values()];
    }
  }
  return { kernels: kernels.sort((a, b) => b.seconds - a.seconds), seconds };
}
