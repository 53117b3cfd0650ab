/** Two-dimensional convolution (cross-correlation, as in PyTorch). */
import {
  checkOperands,
  checkOptionNames,
  contiguous,
  copyInto,
  dispatch,
  empty,
  fillInto,
  floatOf,
  permuted,
  reduceKeep,
  reshaped,
  ShapeError,
  shapeText,
  type Tensor,
} from "../../tensor/mod.ts";
import { defineOp } from "../op.ts";

/** Pixels added around the image, with zeros. */
export interface Padding {
  /** Rows above. */
  top: number;
  /** Rows below. */
  bottom: number;
  /** Columns before. */
  left: number;
  /** Columns after. */
  right: number;
}

interface ConvAttrs {
  stride: number;
  padding: Padding;
  bias: boolean;
}

/** w [Co, Ci, KH, KW] rotated by 180 degrees and with its channels swapped: [Ci, Co, KH, KW]. */
function flipped(w: Tensor): Tensor {
  const [co, ci, kh, kw] = w.shape as [number, number, number, number];
  const out = empty(w.device, w.dtype, [ci, co, kh, kw], "conv2d");
  using swapped = permuted(w, [1, 0, 2, 3]);
  for (let y = 0; y < kh; y++) {
    for (let x = 0; x < kw; x++) { // a column of taps at a time: strides cannot be negative
      const tap = (t: Tensor, ty: number, tx: number) =>
        t.as([ci, co], t.strides.slice(0, 2), t.offset + ty * t.strides[2]! + tx * t.strides[3]!);
      using from = tap(swapped, kh - 1 - y, kw - 1 - x);
      using to = tap(out, y, x);
      copyInto(from, to, "conv2d");
    }
  }
  return out;
}

const callConv = defineOp<ConvAttrs, readonly [Tensor, Tensor]>({
  name: "conv2d",
  cast: "half",
  forward: (inputs, { stride, padding }) => {
    floatOf("conv2d", inputs[0]!, inputs.slice(1));
    const [x, w] = [contiguous(inputs[0]!), contiguous(inputs[1]!)];
    const bias = inputs[2] ? contiguous(inputs[2]) : null;
    const [n, , h, wd] = x.shape as [number, number, number, number];
    const [co, , kh, kw] = w.shape as [number, number, number, number];
    const oh = Math.floor((h + padding.top + padding.bottom - kh) / stride) + 1;
    const ow = Math.floor((wd + padding.left + padding.right - kw) / stride) + 1;
    const out = empty(x.device, x.dtype, [n, co, oh, ow], "conv2d");
    if (out.size > 0) {
      dispatch("conv2d", "conv2d", x.device, {
        x,
        w,
        bias,
        stride,
        padTop: padding.top,
        padLeft: padding.left,
        dilation: 1,
        out,
      });
    }
    return { out, saved: [x, w] };
  },
  backward: ([upstream], [x, w], { stride, padding, bias }, needs) => {
    const g = contiguous(upstream!);
    const [, , kh, kw] = w.shape as [number, number, number, number];
    const gradX = () => {
      // a convolution of the upstream gradient, its pixels spread by the stride
      const dx = empty(x.device, x.dtype, x.shape, "conv2d");
      if (g.size === 0) fillInto(dx, 0);
      else {
        dispatch("conv2d", "conv2d", x.device, {
          x: g,
          w: flipped(w),
          bias: null,
          stride: 1,
          padTop: kh - 1 - padding.top,
          padLeft: kw - 1 - padding.left,
          dilation: stride,
          out: dx,
        });
      }
      return dx;
    };
    const gradW = () => {
      const dw = empty(w.device, w.dtype, w.shape, "conv2d");
      if (g.size === 0) fillInto(dw, 0);
      else {
        const at = { stride, padTop: padding.top, padLeft: padding.left };
        dispatch("conv2d", "conv2dGradWeight", x.device, { x, g, ...at, out: dw });
      }
      return dw;
    };
    const gradB = () => {
      using kept = reduceKeep("conv2d", "sum", null, [g], [0, 2, 3]);
      return reshaped(kept, [g.shape[1]!]);
    };
    return [
      needs[0] ? gradX() : null,
      needs[1] ? gradW() : null,
      bias && needs[2] ? gradB() : null,
    ];
  },
  samples: [
    {
      name: "3x3, padded",
      inputs: [{ shape: [2, 3, 9, 7] }, { shape: [5, 3, 3, 3] }, { shape: [5] }],
      call: ([x, w, b]) => conv2d(x!, w!, b!, { padding: 1 }),
    },
    {
      name: "3x3, stride 2, padded right and below, odd",
      inputs: [{ shape: [1, 3, 7, 5] }, { shape: [5, 3, 3, 3] }, { shape: [5] }],
      call: ([x, w, b]) =>
        conv2d(x!, w!, b!, { stride: 2, padding: { top: 0, bottom: 1, left: 0, right: 1 } }),
    },
    {
      name: "1x1, strided views, no bias",
      inputs: [{ shape: [2, 3, 5, 7], strided: true }, { shape: [5, 3, 1, 1], strided: true }],
      call: ([x, w]) => conv2d(x!, w!, null),
    },
    {
      name: "patches",
      inputs: [{ shape: [2, 4, 8, 8] }, { shape: [9, 4, 4, 4] }, { shape: [9] }],
      call: ([x, w, b]) => conv2d(x!, w!, b!, { stride: 4 }),
    },
  ],
});

/** Settings of {@link conv2d}. */
export interface ConvOptions {
  /** Pixels between places the kernel is put; 1 by default. */
  stride?: number;
  /** Zeros around the image, the same on all sides or each its own; 0 by default. */
  padding?: number | Padding;
}

/**
 * x [N, Ci, H, W] with w [Co, Ci, KH, KW] and bias [Co]: [N, Co, OH, OW], of the type of x; weights
 * may be f16 beside an x of f32.
 *
 * @throws {ShapeError} where the shapes do not fit, or the image is smaller than the kernel. N may
 * be 0, nothing else.
 */
export function conv2d(
  x: Tensor,
  w: Tensor,
  bias: Tensor | null = null,
  options: ConvOptions = {},
): Tensor {
  checkOperands("conv2d", [x, w, bias], [2]);
  checkOptionNames("conv2d", options, { stride: 1, padding: 1 });
  const { stride = 1, padding = 0 } = options;
  const p = typeof padding === "number"
    ? { top: padding, bottom: padding, left: padding, right: padding }
    : padding;
  const fits = x.rank === 4 && w.rank === 4 && x.shape[1] === w.shape[1] &&
    (!bias || (bias.rank === 1 && bias.shape[0] === w.shape[0]));
  if (!fits) {
    throw new ShapeError(
      `conv2d: expected x [N, Ci, H, W], w [Co, Ci, KH, KW] and bias [Co] but got ${
        shapeText(x.shape)
      }, ${shapeText(w.shape)}${bias ? ` and ${shapeText(bias.shape)}` : ""}`,
    );
  }
  const sides = [p.top, p.bottom, p.left, p.right];
  const whole = [stride, ...sides].every((v) => Number.isInteger(v) && v >= 0);
  if (!whole || stride < 1) {
    throw new ShapeError(
      `conv2d: expected whole numbers, stride 1 or more and padding 0 or more (one, or top, bottom, ` +
        `left and right), but got stride ${stride} and padding ${JSON.stringify(padding)}`,
    );
  }
  if (x.shape.slice(1).includes(0) || w.shape.includes(0)) {
    throw new ShapeError(
      `conv2d: expected an image and a kernel with sizes of 1 or more but got ${
        shapeText(x.shape)
      } and ${shapeText(w.shape)}`,
    );
  }
  const tall = x.shape[2]! + p.top + p.bottom >= w.shape[2]!;
  if (!tall || x.shape[3]! + p.left + p.right < w.shape[3]!) {
    throw new ShapeError(
      `conv2d: expected an image, with padding, as large as the kernel but got ${
        shapeText(x.shape)
      } and ${shapeText(w.shape)}`,
    );
  }
  return callConv([x, w, bias], { stride, padding: p, bias: bias !== null })[0]!;
}
