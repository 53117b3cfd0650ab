/** The same elements in another shape: views where strides allow, copies where they do not. */
import {
  broadcastShapes,
  broadcastStrides,
  checkArray,
  checkOperands,
  checkShape,
  copy,
  inferShape,
  normalizeAxis,
  permuted,
  reshaped,
  sameShape,
  type Shape,
  ShapeError,
  shapeText,
  sizeOf,
  sumTo,
  type Tensor,
} from "../../tensor/mod.ts";
import { noGrad } from "../modes.ts";
import { defineOp } from "../op.ts";

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
  checkOperands("reshape", [x]);
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
  checkOperands("permute", [x]);
  checkArray("permute", "axes", axes);
  const order = Array.from(axes, (a) => normalizeAxis("permute", a, x.rank));
  if (order.length !== x.rank || new Set(order).size !== x.rank) {
    throw new ShapeError(
      `permute: expected each of ${x.rank} axes once but got [${axes.join(", ")}]`,
    );
  }
  return callPermute([x], { axes: order })[0]!;
}

/** Two dimensions swapped, by default the last two. */
export function transpose(x: Tensor, a = -2, b = -1): Tensor {
  checkOperands("transpose", [x]);
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
  checkOperands("expand", [x]);
  checkArray("expand", "a shape", shape);
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
  checkOperands("contiguous", [x]);
  return x.contiguous ? x : callContiguous([x], null)[0]!;
}

/** `x` with a new axis of size 1 at `axis`. */
export function unsqueeze(x: Tensor, axis: number): Tensor {
  checkOperands("unsqueeze", [x]);
  const at = normalizeAxis("unsqueeze", axis, x.rank + 1);
  return reshape(x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)]);
}

/** `x` without the axis of size 1 at `axis`. */
export function squeeze(x: Tensor, axis: number): Tensor {
  checkOperands("squeeze", [x]);
  const at = normalizeAxis("squeeze", axis, x.rank);
  if (x.shape[at] !== 1) {
    throw new ShapeError(`squeeze: expected size 1 at axis ${axis} of ${shapeText(x.shape)}`);
  }
  return reshape(x, x.shape.filter((_, i) => i !== at));
}

/** `x` with the axes from `start` to `end` (inclusive) merged. */
export function flatten(x: Tensor, start = 0, end = -1): Tensor {
  checkOperands("flatten", [x]);
  if (x.rank === 0) return reshape(x, [1]);
  const [from, to] = [start, end].map((a) => normalizeAxis("flatten", a, x.rank));
  if (from! > to!) {
    throw new ShapeError(`flatten: expected start <= end but got ${start} and ${end}`);
  }
  return reshape(x, [
    ...x.shape.slice(0, from),
    sizeOf(x.shape.slice(from, to! + 1)),
    ...x.shape.slice(to! + 1),
  ]);
}

/** The same elements outside the graph: no gradient flows back. */
export function detach(x: Tensor): Tensor {
  checkOperands("detach", [x]);
  return noGrad(() => callReshape([x], { from: x.shape, to: x.shape })[0]!);
}
