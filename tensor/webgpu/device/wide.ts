/** Arrays wider than the GPU binds at once are worked on in parts. */
import { type View, viewBytes } from "../../backend.ts";
import { sizeOf } from "../../shape.ts";
import { gpuBuffer } from "./pool.ts";
import type { WebGpuRuntime } from "./runtime.ts";
import { withScratch } from "./scratch.ts";
import { sumParts } from "../kernels/sum_parts.ts";

/** Whether `view` spans more bytes than one binding may. */
export function tooWide(runtime: WebGpuRuntime, view: View): boolean {
  const most = runtime.maxBindingBytes;
  if (gpuBuffer(view.buffer).block.size <= most) return false;
  const { start, end } = viewBytes(view);
  // The window begins at a multiple of the alignment and ends at one of 16.
  return end - start + runtime.limits.minStorageBufferOffsetAlignment + 16 > most;
}

/** Elements [from, to) of `view` along `axis`. */
export function slice(view: View, axis: number, from: number, to: number): View {
  return {
    ...view,
    offset: view.offset + from * view.strides[axis]!,
    shape: view.shape.map((d, i) => (i === axis ? to - from : d)),
  };
}

/** Names of a kernel's views: those to cut along each axis, outermost first. */
type Names<A> = readonly (readonly (keyof A)[])[];

/** The first axis along which cutting the views named for it would help, or -1. */
function axisToCut<A>(runtime: WebGpuRuntime, args: A, names: Names<A>): number {
  return names.findIndex((cut, axis) => {
    const views = cut.map((name) => args[name] as View | null);
    return views.length > 0 && views[0]!.shape[axis]! > 1 &&
      views.some((v) => v !== null && tooWide(runtime, v));
  });
}

/** `args` with the views called `cut` narrowed to [from, to) along `axis`. */
function narrowed<A>(
  args: A,
  cut: readonly (keyof A)[],
  axis: number,
  from: number,
  to: number,
): A {
  const part = { ...args };
  for (const name of cut) {
    const view = args[name] as View | null;
    if (view) part[name] = slice(view, axis, from, to) as A[keyof A];
  }
  return part;
}

/**
 * Whether `args` hold arrays too wide to bind; if so `run` has been called for the two halves
 * along the first axis where the views that `names` gives for it can be cut.
 */
export function ranInParts<A>(
  runtime: WebGpuRuntime,
  args: A,
  names: Names<A>,
  run: (part: A) => void,
): boolean {
  const axis = axisToCut(runtime, args, names);
  if (axis < 0) return false;
  const cut = names[axis]!;
  const length = (args[cut[0]!] as View).shape[axis]!;
  const half = Math.ceil(length / 2);
  run(narrowed(args, cut, axis, 0, half));
  run(narrowed(args, cut, axis, half, length));
  return true;
}

/** As `ranInParts`, for kernels whose (contiguous) outputs `sums` add up along the cut axes. */
export function ranInSummedParts<A>(
  runtime: WebGpuRuntime,
  args: A,
  names: Names<A>,
  sums: readonly (keyof A)[],
  run: (part: A) => void,
  op: string,
): boolean {
  if (axisToCut(runtime, args, names) < 0) return false;
  const wanted = sums.filter((name) => args[name] !== null);
  const results = wanted.map((name) => args[name] as View);
  withScratch(runtime, op, results.map((v) => [2, ...v.shape]), (...scratch) => {
    let part = 0;
    ranInParts(runtime, args, names, (cut) => {
      const target = { ...cut };
      wanted.forEach((name, i) => {
        const both = scratch[i]!;
        const offset = part * both.strides[0]!;
        const { shape, strides } = both;
        target[name] = {
          ...both,
          offset,
          shape: shape.slice(1),
          strides: strides.slice(1),
        } as A[keyof A];
      });
      part++;
      run(target);
    });
    results.forEach((out, i) => sumParts(runtime, scratch[i]!, out, 2, sizeOf(out.shape), op));
  });
  return true;
}
