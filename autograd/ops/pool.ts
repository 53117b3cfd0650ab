/** Pooling of images over windows, along one axis after the other. */
import {
  checkOperands,
  checkOptionNames,
  ShapeError,
  shapeText,
  type Tensor,
  tensor,
} from "../../tensor/mod.ts";
import { defineComposite } from "../op.ts";
import { add, maximum, mul } from "./elementwise.ts";
import { pad, slice } from "./parts.ts";

/** Settings of {@link maxPool2d} and {@link avgPool2d}. */
export interface PoolOptions {
  /** Rows and columns of a window. */
  size: number;
  /** Pixels between windows; as many as a window has by default. */
  stride?: number;
  /** Pixels around the image that count as absent; 0 by default. */
  padding?: number;
}

/** The options, complete. */
function poolOptions(op: string, x: Tensor, options: PoolOptions): Required<PoolOptions> {
  checkOperands(op, [x]);
  checkOptionNames(op, options, { size: 1, stride: 1, padding: 1 });
  const { size, stride = size, padding = 0 } = options;
  const whole = [size, stride, padding].every((v) => Number.isInteger(v) && v >= 0);
  if (!whole || size < 1 || stride < 1 || 2 * padding > size) {
    throw new ShapeError(
      `${op}: expected whole numbers, size and stride 1 or more and padding at most half the size, ` +
        `but got size ${size}, stride ${stride} and padding ${padding}`,
    );
  }
  if (x.rank !== 4 || x.shape.slice(2).some((d) => d + 2 * padding < size)) {
    throw new ShapeError(
      `${op}: expected [N, C, H, W], with padding as large as the window of ${size}, but got ${
        shapeText(x.shape)
      }`,
    );
  }
  return { size, stride, padding };
}

/** Windows along one axis. */
const windowsOf = (length: number, { size, stride }: Required<PoolOptions>) =>
  Math.floor((length - size) / stride) + 1;

/** `join` over the elements of each window along `axis`. */
function along(
  x: Tensor,
  axis: number,
  options: Required<PoolOptions>,
  join: (a: Tensor, b: Tensor) => Tensor,
): Tensor {
  const { size, stride } = options;
  const count = windowsOf(x.shape[axis]!, options);
  const parts = Array.from(
    { length: size },
    (_, start) => slice(x, axis, { start, end: start + (count - 1) * stride + 1, step: stride }),
  );
  return parts.reduce((a, b) => join(a, b));
}

function padded(x: Tensor, padding: number, value: number): Tensor {
  return padding === 0
    ? x
    : pad(x, [[0, 0], [0, 0], [padding, padding], [padding, padding]], value);
}

/**
 * The largest element of each window: x [N, C, H, W] to [N, C, OH, OW], OH = floor((H + 2 padding -
 * size) / stride) + 1.
 */
export const maxPool2d: (x: Tensor, options: PoolOptions) => Tensor = defineComposite(
  "maxPool2d",
  (x: Tensor, options: PoolOptions) => {
    const all = poolOptions("maxPool2d", x, options);
    const rows = along(padded(x, all.padding, -Infinity), 2, all, maximum);
    return along(rows, 3, all, maximum);
  },
  [
    {
      name: "3x3, stride 2, odd",
      inputs: [{ shape: [2, 3, 9, 8] }],
      call: ([x]) => maxPool2d(x!, { size: 3, stride: 2 }),
    },
    {
      name: "3x3, padded",
      inputs: [{ shape: [1, 2, 5, 4], strided: true }],
      call: ([x]) => maxPool2d(x!, { size: 3, stride: 1, padding: 1 }),
    },
  ],
);

/** 1 / pixels of the image in each window along an axis of `length`. */
function shares(length: number, options: Required<PoolOptions>): number[] {
  const { size, stride, padding } = options;
  return Array.from({ length: windowsOf(length + 2 * padding, options) }, (_, i) => {
    const start = i * stride - padding;
    return 1 / (Math.min(start + size, length) - Math.max(start, 0));
  });
}

/**
 * The mean of each window: x [N, C, H, W] to [N, C, OH, OW]. Padding is left out of the mean, as by
 * PyTorch's `count_include_pad=False` and TensorFlow.
 */
export const avgPool2d: (x: Tensor, options: PoolOptions) => Tensor = defineComposite(
  "avgPool2d",
  (x: Tensor, options: PoolOptions) => {
    const all = poolOptions("avgPool2d", x, options);
    const rows = along(padded(x, all.padding, 0), 2, all, add);
    const sums = along(rows, 3, all, add);
    const [down, across] = [shares(x.shape[2]!, all), shares(x.shape[3]!, all)];
    const dtype = x.dtype === "f16" ? "f16" : "f32";
    using factors = tensor(down.flatMap((a) => across.map((b) => a * b)), [
      down.length,
      across.length,
    ], { dtype, device: x.device });
    return mul(sums, factors);
  },
  [
    {
      name: "3x3, padded",
      inputs: [{ shape: [2, 3, 5, 4] }],
      call: ([x]) => avgPool2d(x!, { size: 3, stride: 1, padding: 1 }),
    },
    {
      name: "2x2, a row left over",
      inputs: [{ shape: [1, 2, 5, 4], strided: true }],
      call: ([x]) => avgPool2d(x!, { size: 2 }),
    },
  ],
);
