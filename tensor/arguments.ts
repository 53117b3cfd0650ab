/** What is checked of every kernel's arguments, whichever device runs it. */
import {
  type ArrayUse,
  KERNEL_NAMES,
  type KernelArgs,
  type KernelName,
  KERNELS,
} from "./kernels.ts";
import { checkView, type View, viewBytes } from "./view.ts";
import { DTYPE_BYTES } from "./dtype.ts";

/** One array among a kernel's arguments, and what the kernel does with it. */
export interface ArrayArgument {
  readonly name: string;
  readonly use: ArrayUse;
  readonly view: View;
}

type ArrayList = readonly (readonly [name: string, use: ArrayUse])[];

function writtenFirst(kernel: KernelName): ArrayList {
  const arrays: [string, ArrayUse][] = Object.entries(KERNELS[kernel].arrays);
  return [
    ...arrays.filter(([, use]) => use !== "read"),
    ...arrays.filter(([, use]) => use === "read"),
  ];
}

const ARRAYS: ReadonlyMap<KernelName, ArrayList> = new Map(
  KERNEL_NAMES.map((kernel) => [kernel, writtenFirst(kernel)]),
);

/** Every array among a kernel's arguments, those that it writes first. */
export function arraysOf<K extends KernelName>(kernel: K, args: KernelArgs[K]): ArrayArgument[] {
  const found: ArrayArgument[] = [];
  for (const [name, use] of ARRAYS.get(kernel)!) {
    const value = (args as unknown as Record<string, View | View[] | null | undefined>)[name];
    if (Array.isArray(value)) { for (const view of value) found.push({ name, use, view }); }
    else if (value) found.push({ name, use, view: value });
  }
  return found;
}

/**
 * Throws where an array reaches outside its buffer, or where one that is written shares memory with
 * another (an output of an in-place kernel may be the very same view as an input).
 */
export function checkArguments<K extends KernelName>(
  kernel: K,
  args: KernelArgs[K],
  op: string,
): void {
  const arrays = arraysOf(kernel, args);
  const { inPlace = false } = KERNELS[kernel];
  for (let i = 0; i < arrays.length; i++) {
    const { view, use, name } = arrays[i]!;
    checkView(view, op);
    if (use === "read") continue;
    for (let k = i + 1; k < arrays.length; k++) {
      const other = arrays[k]!;
      if (view.buffer !== other.view.buffer) continue;
      if (inPlace && other.use === "read" && isSameView(view, other.view)) continue;
      if (overlap(view, other.view)) {
        throw new RangeError(
          `${op}: expected ${kernel} to write "${name}" apart from "${other.name}" ` +
            "but they share memory",
        );
      }
    }
  }
}

/** Whether both are the same elements in the same order. */
function isSameView(a: View, b: View): boolean {
  return a.offset === b.offset && a.dtype === b.dtype && a.shape.length === b.shape.length &&
    a.shape.every((size, d) => {
      return size === b.shape[d] && (size === 1 || a.strides[d] === b.strides[d]);
    });
}

/** Steps after which strides are too odd to decide on. */
const MOST_STEPS = 10_000;

/**
 * Whether two views share a byte. That is whether the distance between their first bytes is a sum
 * of steps that they can take: a whole number of each stride, within the views' shapes. Strides are
 * tried from the largest down, so only the few numbers that the smaller ones can make up for.
 *
 * @param undecided What strides too odd to decide on are taken for: to be apart, unless given.
 */
export function overlap(a: View, b: View, undecided = false): boolean {
  if (a.buffer !== b.buffer) return false;
  const [first, second] = [viewBytes(a), viewBytes(b)];
  if (first.start >= second.end || second.start >= first.end) return false;
  const ranges = new Map<number, { low: number; high: number }>();
  for (const [view, sign] of [[a, 1], [b, -1]] as const) {
    const size = DTYPE_BYTES[view.dtype];
    const steps = [...view.shape.map((n, d) => [n, view.strides[d]! * size] as const), [size, 1]];
    for (const [count, stride] of steps as [number, number][]) {
      if (count === 1 || stride === 0) continue;
      const range = ranges.get(stride) ?? { low: 0, high: 0 };
      if (sign > 0) range.high += count - 1;
      else range.low -= count - 1;
      ranges.set(stride, range);
    }
  }
  const strides = [...ranges].sort(([s], [t]) => t - s);
  // How far the strides from the i-th on can reach down and up.
  const low = new Array<number>(strides.length + 1).fill(0);
  const high = low.slice();
  for (let i = strides.length - 1; i >= 0; i--) {
    const [stride, range] = strides[i]!;
    low[i] = low[i + 1]! + stride * range.low;
    high[i] = high[i + 1]! + stride * range.high;
  }
  let steps = 0;
  const reaches = (distance: number, i: number): boolean => {
    if (distance < low[i]! || distance > high[i]!) return false;
    if (i === strides.length) return true;
    const [stride, range] = strides[i]!;
    const from = Math.max(range.low, Math.ceil((distance - high[i + 1]!) / stride));
    const to = Math.min(range.high, Math.floor((distance - low[i + 1]!) / stride));
    for (let n = from; n <= to; n++) {
      if (steps++ >= MOST_STEPS) return undecided;
      if (reaches(distance - n * stride, i + 1)) return true;
    }
    return false;
  };
  return reaches(second.start - first.start, 0);
}
