/** Ops that move elements: views where strides allow, copies where they do not. */
import {
  broadcastShapes,
  broadcastStrides,
  checkShape,
  copy,
  copyInto,
  DTypeError,
  empty,
  fillInto,
  IndexError,
  inferShape,
  normalizeAxis,
  permuted,
  reshaped,
  sameShape,
  type Shape,
  ShapeError,
  shapeText,
  sumTo,
  type Tensor,
} from "../../tensor/mod.ts";
import { noGrad } from "../modes.ts";
import { defineComposite, defineOp } from "../op.ts";

const callReshape = defineOp<{ from: Shape; to: Shape }, readonly []>({
  name: "reshape",
  forward: ([x], { to }) => ({ out: reshaped(x!, to), saved: [] }),
  backward: ([g], _, { from }) => [reshaped(g!, from)],
  samples: [
    { name: "flatten", inputs: [{ shape: [2, 3, 5] }], call: ([x]) => reshape(x!, [-1]) },
    {
      name: "split and merge of a strided view",
      inputs: [{ shape: [6, 4, 5], strided: true }],
      call: ([x]) => reshape(x!, [2, 3, 20]),
    },
  ],
});

/** The same elements, row-major, in another shape; one dimension may be -1. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  const to = inferShape("reshape", shape, x.size);
  return callReshape([x], { from: x.shape, to })[0]!;
}

const callPermute = defineOp<{ axes: readonly number[] }, readonly []>({
  name: "permute",
  forward: ([x], { axes }) => ({ out: permuted(x!, axes), saved: [] }),
  backward: ([g], _, { axes }) => [permuted(g!, axes.map((_, i) => axes.indexOf(i)))],
  samples: [
    {
      name: "four dimensions",
      inputs: [{ shape: [2, 3, 4, 5] }],
      call: ([x]) => permute(x!, [0, 2, 3, 1]),
    },
    { name: "17x33", inputs: [{ shape: [17, 33] }], call: ([x]) => permute(x!, [1, 0]) },
    {
      name: "six dimensions, copied",
      inputs: [{ shape: [2, 3, 2, 2, 2, 3] }],
      call: ([x]) => reshape(permute(x!, [0, 5, 1, 3, 2, 4]), [2, -1]),
    },
  ],
});

/** Dimensions in the order of `axes`, without moving elements. */
export function permute(x: Tensor, axes: readonly number[]): Tensor {
  const order = axes.map((a) => normalizeAxis("permute", a, x.rank));
  if (order.length !== x.rank || new Set(order).size !== x.rank) {
    throw new ShapeError(
      `permute: expected each of ${x.rank} axes once but got [${axes.join(", ")}]`,
    );
  }
  return callPermute([x], { axes: order })[0]!;
}

/** Two dimensions swapped, by default the last two. */
export function transpose(x: Tensor, a = -2, b = -1): Tensor {
  const axes = x.shape.map((_, i) => i);
  const [i, j] = [normalizeAxis("transpose", a, x.rank), normalizeAxis("transpose", b, x.rank)];
  [axes[i], axes[j]] = [j, i];
  return permute(x, axes);
}

const callExpand = defineOp<{ from: Shape; to: Shape }, readonly []>({
  name: "expand",
  forward: ([x], { to }) => ({
    out: x!.as(to, broadcastStrides(x!.shape, x!.strides, to)),
    saved: [],
  }),
  backward: ([g], _, { from }) => [sumTo(g!, from, "expand")],
  samples: [
    {
      name: "in front and inside",
      inputs: [{ shape: [3, 1] }],
      call: ([x]) => expand(x!, [4, 3, 5]),
    },
    { name: "a single number", inputs: [{ shape: [] }], call: ([x]) => expand(x!, [17, 3]) },
  ],
});

/** `x` repeated along dimensions of size 1 and new ones in front, without copying. */
export function expand(x: Tensor, shape: Shape): Tensor {
  const to = shape.map((d, i) => d === -1 ? x.shape[i - (shape.length - x.rank)] ?? -1 : d);
  checkShape("expand", to);
  if (!sameShape(broadcastShapes("expand", x.shape, to), to)) {
    throw new ShapeError(
      `expand: expected a shape that ${shapeText(x.shape)} broadcasts to but got ${
        shapeText(shape)
      }`,
    );
  }
  return callExpand([x], { from: x.shape, to })[0]!;
}

const callContiguous = defineOp<null, readonly []>({
  name: "contiguous",
  forward: ([x]) => ({ out: copy(x!, x!.dtype, "contiguous"), saved: [] }),
  backward: ([g]) => [g!.as(g!.shape, g!.strides)],
  samples: [{
    name: "of a strided view",
    inputs: [{ shape: [5, 7, 3], strided: true }],
    call: ([x]) => contiguous(x!),
  }],
});

/** `x` with its elements row-major: itself where they are, else a copy. */
export function contiguous(x: Tensor): Tensor {
  return x.contiguous ? x : callContiguous([x], null)[0]!;
}

/** Places along one axis; negative ones count from the end. */
export interface Range {
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

function window(x: Tensor, axis: number, start: number, length: number, step: number): Tensor {
  const shape = x.shape.map((d, i) => i === axis ? length : d);
  const strides = x.strides.map((s, i) => i === axis ? s * step : s);
  return x.as(shape, strides, x.offset + start * x.strides[axis]!);
}

/**
 * Part of an axis, without copying. Negative bounds count from the end.
 *
 * @throws {IndexError} where a bound lies outside the axis; nothing is clamped.
 */
export function slice(x: Tensor, axis: number, range: Range): Tensor {
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

const callSplit = defineOp<{ axis: number; sizes: readonly number[]; from: Shape }, readonly []>({
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
  backward: (grads, _, { axis, sizes, from }) => {
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
  const whole = list.every((s) => Number.isInteger(s) && s >= 0);
  if (!whole || list.reduce((a, b) => a + b, 0) !== total) {
    throw new ShapeError(
      `split: expected whole sizes, 0 or more, that add up to ${total} along axis ${axis} but got [${
        list.join(", ")
      }]`,
    );
  }
  return callSplit([x], { axis: at, sizes: list, from: x.shape });
}

/** `count` parts of equal size along `axis` (the last may be smaller), as views. */
export function chunk(x: Tensor, count: number, axis = 0): Tensor[] {
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
  const first = inputs[0];
  if (!first) throw new ShapeError("concat: expected at least one tensor but got none");
  const at = normalizeAxis("concat", axis, first.rank);
  for (const x of inputs) {
    x.checkLive("concat");
    const fits = x.rank === first.rank &&
      x.shape.every((d, i) => i === at || d === first.shape[i]);
    if (!fits) {
      throw new ShapeError(
        `concat: expected shapes that differ along axis ${axis} only but got ${
          inputs.map((t) => shapeText(t.shape)).join(" and ")
        }`,
      );
    }
    if (x.dtype !== first.dtype) {
      throw new DTypeError(
        `concat: expected one dtype but got ${first.dtype} and ${x.dtype}; cast first`,
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
  const whole = widths.flat().every((w) => Number.isInteger(w) && w >= 0);
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
  (inputs: readonly Tensor[], axis = 0) => concat(inputs.map((x) => unsqueeze(x, axis)), axis),
  [{
    name: "along the middle",
    inputs: [{ shape: [3, 4] }, { shape: [3, 4] }],
    call: (inputs) => stack(inputs, 1),
  }],
);

/** `x` with a new axis of size 1 at `axis`. */
export function unsqueeze(x: Tensor, axis: number): Tensor {
  const at = normalizeAxis("unsqueeze", axis, x.rank + 1);
  return reshape(x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)]);
}

/** `x` without the axis of size 1 at `axis`. */
export function squeeze(x: Tensor, axis: number): Tensor {
  const at = normalizeAxis("squeeze", axis, x.rank);
  if (x.shape[at] !== 1) {
    throw new ShapeError(`squeeze: expected size 1 at axis ${axis} of ${shapeText(x.shape)}`);
  }
  return reshape(x, x.shape.filter((_, i) => i !== at));
}

/** `x` with the axes from `start` to `end` (inclusive) merged. */
export function flatten(x: Tensor, start = 0, end = -1): Tensor {
  if (x.rank === 0) return reshape(x, [1]);
  const [from, to] = [start, end].map((a) => normalizeAxis("flatten", a, x.rank));
  if (from! > to!) {
    throw new ShapeError(`flatten: expected start <= end but got ${start} and ${end}`);
  }
  return reshape(x, [
    ...x.shape.slice(0, from),
    x.shape.slice(from, to! + 1).reduce((a, b) => a * b, 1),
    ...x.shape.slice(to! + 1),
  ]);
}

/** `x` repeated `times` along each axis, as copies side by side. */
export const repeat: (x: Tensor, times: readonly number[]) => Tensor = defineComposite(
  "repeat",
  (x: Tensor, times: readonly number[]) => {
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

/** The same elements outside the graph: no gradient flows back. */
export function detach(x: Tensor): Tensor {
  return noGrad(() => callReshape([x], { from: x.shape, to: x.shape })[0]!);
}
