/** Parts of tensors as views, and tensors put together from parts as copies. */
import {
  checkArray,
  checkOperands,
  checkOptionNames,
  contiguousStrides,
  copyInto,
  type DType,
  DTypeError,
  empty,
  fillInto,
  IndexError,
  normalizeAxis,
  sameShape,
  type Shape,
  ShapeError,
  shapeText,
  sizeOf,
  type Tensor,
} from "../../tensor/mod.ts";
import { defineComposite, defineOp } from "../op.ts";
import { expand, reshape, unsqueeze } from "./shape.ts";
import { window } from "./window.ts";

/** Places along one axis; negative ones count from the end. */
export interface SliceRange {
  /** The first; 0 by default. */
  start?: number;
  /** The first that is left out; by default none is. */
  end?: number;
  /** From one to the next: 1, the default, or more. */
  step?: number;
}

const callSlice = defineOp<
  { axis: number; start: number; length: number; step: number; from: Shape },
  readonly []
>({
  name: "slice",
  forward: ([x], { axis, start, length, step }) => ({
    out: window(x!, axis, start, length, step),
    saved: [],
  }),
  backward: ([g], _, { axis, start, length, step, from }) => {
    const whole = empty(g!.device, g!.dtype, from, "slice");
    fillInto(whole, 0, "slice");
    using part = window(whole, axis, start, length, step);
    copyInto(g!, part, "slice");
    return [whole];
  },
  samples: [
    {
      name: "middle of an axis",
      inputs: [{ shape: [2, 9, 4] }],
      call: ([x]) => slice(x!, 1, { start: 2, end: -1 }),
    },
    {
      name: "every second",
      inputs: [{ shape: [7, 5] }],
      call: ([x]) => slice(x!, 0, { start: 1, step: 2 }),
    },
  ],
});

/**
 * Part of an axis, without copying. Negative bounds count from the end.
 *
 * @throws {IndexError} where a bound lies outside the axis; nothing is clamped.
 */
export function slice(x: Tensor, axis: number, range: SliceRange): Tensor {
  checkOperands("slice", [x]);
  checkOptionNames("slice", range, { start: 1, end: 1, step: 1 });
  const at = normalizeAxis("slice", axis, x.rank);
  const size = x.shape[at]!;
  const bound = (b: number) => b < 0 ? b + size : b;
  const { start = 0, end = size, step = 1 } = range;
  const [from, to] = [bound(start), bound(end)];
  const whole = [start, end, step].every(Number.isInteger);
  if (!whole || from < 0 || to > size || from > to || step < 1) {
    throw new IndexError(
      `slice: expected 0 <= start <= end <= ${size} and a step of 1 or more along axis ${axis} of ${
        shapeText(x.shape)
      } but got start ${start}, end ${end}, step ${step}`,
    );
  }
  const length = Math.ceil((to - from) / step);
  return callSlice([x], { axis: at, start: from, length, step, from: x.shape })[0]!;
}

interface SplitAttrs {
  readonly axis: number;
  readonly sizes: readonly number[];
  readonly from: Shape;
  readonly dtype: DType;
}

/** Part `i` of what was split. */
function partOf(whole: Tensor, { axis, sizes }: SplitAttrs, i: number): Tensor {
  const start = sizes.slice(0, i).reduce((sum, size) => sum + size, 0);
  return window(whole, axis, start, sizes[i]!, 1);
}

/** The tensor that all of `parts` are parts of, each in its place; null where there is none. */
function wholeOf(parts: readonly (Tensor | null)[], attrs: SplitAttrs): Tensor | null {
  const first = parts[0];
  if (!first || first.offset !== 0 || first.storage.length !== sizeOf(attrs.from)) return null;
  const whole = first.as(attrs.from, contiguousStrides(attrs.from), 0);
  const fits = parts.every((part, i) => {
    if (part?.storage !== whole.storage) return false;
    using own = partOf(whole, attrs, i);
    return part.offset === own.offset && sameShape(part.strides, own.strides);
  });
  if (fits) return whole;
  whole.dispose();
  return null;
}

const callSplit = defineOp<SplitAttrs, readonly []>({
  name: "split",
  forward: ([x], { axis, sizes }) => {
    let start = 0;
    return {
      out: sizes.map((size) => {
        const part = window(x!, axis, start, size, 1);
        start += size;
        return part;
      }),
      saved: [],
    };
  },
  gathers: (attrs) => ({
    shape: attrs.from,
    dtype: attrs.dtype,
    part: (whole, i) => partOf(whole, attrs, i),
  }),
  backward: (grads, _, attrs) => {
    const gathered = wholeOf(grads, attrs);
    if (gathered) return [gathered];
    const { axis, sizes, from } = attrs;
    const like = grads.find((g) => g !== null)!;
    const whole = empty(like.device, like.dtype, from, "split");
    let start = 0;
    grads.forEach((g, i) => {
      using part = window(whole, axis, start, sizes[i]!, 1);
      if (g) copyInto(g, part, "split");
      else fillInto(part, 0, "split");
      start += sizes[i]!;
    });
    return [whole];
  },
  samples: [
    { name: "uneven", inputs: [{ shape: [2, 8, 3] }], call: ([x]) => split(x!, [3, 4, 1], 1) },
    {
      name: "one part unused",
      inputs: [{ shape: [2, 9] }],
      call: ([x]) => [chunk(x!, 3, 1)[1]!],
    },
  ],
});

/** Parts of the given sizes (or all of one size, the last smaller) along `axis`, as views. */
export function split(x: Tensor, sizes: number | readonly number[], axis = 0): Tensor[] {
  checkOperands("split", [x]);
  const at = normalizeAxis("split", axis, x.rank);
  const total = x.shape[at]!;
  let list = sizes;
  if (typeof list === "number") {
    const size = list;
    if (!Number.isInteger(size) || size < 1) {
      throw new ShapeError(`split: expected a size of 1 or more but got ${size}`);
    }
    list = Array.from(
      { length: Math.max(1, Math.ceil(total / size)) },
      (_, i) => Math.min(size, total - i * size),
    );
  }
  checkArray("split", "sizes", list);
  const whole = list.every((s) => Number.isInteger(s) && s >= 0);
  if (!whole || list.reduce((a, b) => a + b, 0) !== total) {
    throw new ShapeError(
      `split: expected whole sizes, 0 or more, that add up to ${total} along axis ${axis} but got [${
        list.join(", ")
      }]`,
    );
  }
  return callSplit([x], { axis: at, sizes: list, from: x.shape, dtype: x.dtype });
}

/** `count` parts of equal size along `axis` (the last may be smaller), as views. */
export function chunk(x: Tensor, count: number, axis = 0): Tensor[] {
  checkOperands("chunk", [x]);
  const at = normalizeAxis("chunk", axis, x.rank);
  if (!Number.isInteger(count) || count < 1) {
    throw new ShapeError(`chunk: expected a count of 1 or more but got ${count}`);
  }
  const size = x.shape[at]!;
  if (size === 0) return split(x, new Array<number>(count).fill(0), at);
  return split(x, Math.ceil(size / count), at);
}

const callConcat = defineOp<{ axis: number; sizes: readonly number[] }, readonly []>({
  name: "concat",
  forward: (inputs, { axis, sizes }) => {
    const first = inputs[0]!;
    for (const x of inputs) {
      if (x!.dtype === first.dtype) continue;
      throw new DTypeError(
        `concat: expected one dtype but got ${first.dtype} and ${x!.dtype}; cast first`,
      );
    }
    const total = sizes.reduce((a, b) => a + b, 0);
    const shape = first.shape.map((d, i) => i === axis ? total : d);
    const out = empty(first.device, first.dtype, shape, "concat");
    let start = 0;
    inputs.forEach((x, i) => {
      using part = window(out, axis, start, sizes[i]!, 1);
      copyInto(x!, part, "concat");
      start += sizes[i]!;
    });
    return { out, saved: [] };
  },
  backward: ([g], _, { axis, sizes }, needs) => {
    let start = 0;
    return sizes.map((size, i) => {
      const part = needs[i] ? window(g!, axis, start, size, 1) : null;
      start += size;
      return part;
    });
  },
  samples: [{
    name: "three along the middle",
    inputs: [{ shape: [2, 3, 4] }, { shape: [2, 1, 4] }, { shape: [2, 5, 4], strided: true }],
    call: (inputs) => concat(inputs, 1),
  }],
});

/** Tensors joined along an axis; the other dimensions must agree. */
export function concat(inputs: readonly Tensor[], axis = 0): Tensor {
  checkArray("concat", "tensors", inputs);
  checkOperands("concat", inputs);
  const first = inputs[0];
  if (!first) throw new ShapeError("concat: expected at least one tensor but got none");
  const at = normalizeAxis("concat", axis, first.rank);
  for (const x of inputs) {
    const fits = x.rank === first.rank &&
      x.shape.every((d, i) => i === at || d === first.shape[i]);
    if (!fits) {
      throw new ShapeError(
        `concat: expected shapes that differ along axis ${axis} only but got ${
          inputs.map((t) => shapeText(t.shape)).join(" and ")
        }`,
      );
    }
  }
  return callConcat(inputs, { axis: at, sizes: inputs.map((x) => x.shape[at]!) })[0]!;
}

const callPad = defineOp<{ before: Shape; after: Shape; value: number }, readonly []>({
  name: "pad",
  forward: ([x], { before, after, value }) => {
    const shape = x!.shape.map((d, i) => d + before[i]! + after[i]!);
    const out = empty(x!.device, x!.dtype, shape, "pad");
    fillInto(out, value, "pad");
    using part = inner(out, before, x!.shape);
    copyInto(x!, part, "pad");
    return { out, saved: [] };
  },
  backward: ([g], _, { before, after }) => [
    inner(g!, before, g!.shape.map((d, i) => d - before[i]! - after[i]!)),
  ],
  samples: [{
    name: "right and below",
    inputs: [{ shape: [2, 3, 4, 5] }],
    call: ([x]) => pad(x!, [[0, 0], [0, 0], [0, 1], [0, 1]]),
  }, {
    name: "all round with a value",
    inputs: [{ shape: [3, 5] }],
    call: ([x]) => pad(x!, [[1, 2], [3, 0]], 7),
  }],
});

function inner(x: Tensor, start: Shape, shape: Shape): Tensor {
  return x.as(shape, x.strides, x.strides.reduce((at, s, i) => at + s * start[i]!, x.offset));
}

/** `x` with `value` added before and after along every axis: one [before, after] an axis. */
export function pad(x: Tensor, widths: readonly (readonly [number, number])[], value = 0): Tensor {
  checkOperands("pad", [x]);
  checkArray("pad", "pairs of widths", widths);
  const whole = widths.every((pair) =>
    Array.isArray(pair) && pair.length === 2 && pair.every((w) => Number.isInteger(w) && w >= 0)
  );
  if (widths.length !== x.rank || !whole) {
    throw new ShapeError(
      `pad: expected ${x.rank} pairs of widths, 0 or more, but got ${JSON.stringify(widths)}`,
    );
  }
  const [before, after] = [widths.map(([b]) => b), widths.map(([, a]) => a)];
  return callPad([x], { before, after, value })[0]!;
}

/** Tensors of one shape joined along a new axis. */
export const stack: (inputs: readonly Tensor[], axis?: number) => Tensor = defineComposite(
  "stack",
  (inputs: readonly Tensor[], axis = 0) => {
    checkArray("stack", "tensors", inputs);
    checkOperands("stack", inputs);
    return concat(inputs.map((x) => unsqueeze(x, axis)), axis);
  },
  [{
    name: "along the middle",
    inputs: [{ shape: [3, 4] }, { shape: [3, 4] }],
    call: (inputs) => stack(inputs, 1),
  }],
);

/** `x` repeated `times` along each axis, as copies side by side. */
export const repeat: (x: Tensor, times: readonly number[]) => Tensor = defineComposite(
  "repeat",
  (x: Tensor, times: readonly number[]) => {
    checkOperands("repeat", [x]);
    checkArray("repeat", "counts", times);
    if (times.length !== x.rank || times.some((n) => !Number.isInteger(n) || n < 0)) {
      throw new ShapeError(
        `repeat: expected ${x.rank} counts, 0 or more, but got [${times.join(", ")}]`,
      );
    }
    const apart = reshape(x, x.shape.flatMap((d) => [1, d]));
    const wide = expand(apart, x.shape.flatMap((d, i) => [times[i]!, d]));
    return reshape(wide, x.shape.map((d, i) => d * times[i]!));
  },
  [{ name: "2x3", inputs: [{ shape: [2, 4] }], call: ([x]) => repeat(x!, [2, 3]) }],
);

/** [N, C, H, W] with every pixel repeated `factor` times down and across. */
export const upsampleNearest: (x: Tensor, factor?: number) => Tensor = defineComposite(
  "upsampleNearest",
  (x: Tensor, factor = 2) => {
    checkOperands("upsampleNearest", [x]);
    if (x.rank !== 4) {
      throw new ShapeError(`upsampleNearest: expected [N, C, H, W] but got ${shapeText(x.shape)}`);
    }
    if (!Number.isInteger(factor) || factor < 1) {
      throw new ShapeError(`upsampleNearest: expected a factor of 1 or more but got ${factor}`);
    }
    const [n, c, h, w] = x.shape as [number, number, number, number];
    const wide = expand(reshape(x, [n, c, h, 1, w, 1]), [n, c, h, factor, w, factor]);
    return reshape(wide, [n, c, h * factor, w * factor]);
  },
  [{ name: "2x", inputs: [{ shape: [2, 3, 5, 4] }], call: ([x]) => upsampleNearest(x!) }],
);
