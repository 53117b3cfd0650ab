/** Chunking: arrays that exceed the most bytes a binding may have are worked on piece by piece. */
import { type ArrayUse, type KernelArgs, type KernelName, KERNELS } from "../../kernels.ts";
import { type View, viewBytes } from "../../view.ts";
import { sizeOf } from "../../shape.ts";
import { gpuBuffer } from "./pool.ts";
import type { WebGpuRuntime } from "./runtime.ts";
import { withScratch } from "./scratch.ts";
import { sumParts } from "../kernels/sum_parts.ts";

/** Whether `view` spans more bytes than one binding may (`maxStorageBufferBindingSize`). */
export function exceedsBinding(runtime: WebGpuRuntime, view: View): boolean {
  const most = runtime.maxBindingBytes;
  if (gpuBuffer(view.buffer).block.size <= most) return false;
  const { start, end } = viewBytes(view);
  // The window begins at a multiple of the alignment and ends at one of 16.
  return end - start + runtime.limits.minStorageBufferOffsetAlignment + 16 > most;
}

/**
 * Whether arrays of a launch that takes any number of them have to be worked on in chunks: one is
 * too wide, or they are more than can be bound and too large to be packed (see packing.ts).
 */
export function needChunks(runtime: WebGpuRuntime, views: readonly View[]): boolean {
  if (views.some((view) => exceedsBinding(runtime, view))) return true;
  if (views.length <= runtime.maxArrays) return false;
  const bytes = views.reduce((sum, view) => {
    const { start, end } = viewBytes(view);
    return sum + end - start + 32;
  }, 0);
  return bytes > runtime.maxBindingBytes;
}

/** Elements [from, to) of `view` along `axis`. */
export function slice(view: View, axis: number, from: number, to: number): View {
  return {
    ...view,
    offset: view.offset + from * view.strides[axis]!,
    shape: view.shape.map((d, i) => (i === axis ? to - from : d)),
  };
}

/** Arguments by their names, and which are to be cut along each axis, outermost first. */
type Arrays = Record<string, View | null>;
type Cut = readonly (readonly string[])[];

/** The first axis along which cutting the arrays named for it would help, or -1. */
function axisToCut(runtime: WebGpuRuntime, arrays: Arrays, cut: Cut): number {
  return cut.findIndex((names, axis) =>
    arrays[names[0]!]!.shape[axis]! > 1 &&
    names.some((name) => arrays[name] && exceedsBinding(runtime, arrays[name]))
  );
}

/**
 * Whether `args` hold arrays that exceed a binding; if so `run` has been called for the two halves along
 * the first axis where the kernel's descriptor says that they can be cut. Outputs that are whole in
 * both halves are added up; they are contiguous.
 */
export function ranInChunks<K extends KernelName>(
  runtime: WebGpuRuntime,
  kernel: K,
  args: KernelArgs[K],
  op: string,
  run: (part: KernelArgs[K]) => void,
): boolean {
  const { cut, arrays: uses } = KERNELS[kernel];
  const arrays = args as unknown as Arrays;
  const axis = axisToCut(runtime, arrays, cut as Cut);
  if (axis < 0) return false;
  const names = (cut as Cut)[axis]!;
  const summed = Object.keys(uses).filter((name) => {
    return (uses as Record<string, ArrayUse>)[name] !== "read" && arrays[name] &&
      !names.includes(name);
  });
  const length = arrays[names[0]!]!.shape[axis]!;
  const half = Math.ceil(length / 2);
  const totals = summed.map((name) => arrays[name]!);
  withScratch(runtime, op, totals.map((v) => [2, ...v.shape]), (...scratch) => {
    [[0, half], [half, length]].forEach(([from, to], i) => {
      const part: Arrays = { ...arrays };
      for (const name of names) part[name] &&= slice(part[name], axis, from!, to!);
      summed.forEach((name, k) => part[name] = halfOf(scratch[k]!, i));
      run(part as unknown as KernelArgs[K]);
    });
    totals.forEach((out, k) => sumParts(runtime, scratch[k]!, out, 2, sizeOf(out.shape), op));
  });
  return true;
}

/** The `i`-th along the outermost dimension, without it. */
function halfOf(view: View, i: number): View {
  const { offset, shape, strides } = view;
  return {
    ...view,
    offset: offset + i * strides[0]!,
    shape: shape.slice(1),
    strides: strides.slice(1),
  };
}
