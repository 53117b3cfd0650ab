import type { KernelArgs } from "../kernels.ts";
import { floatsOf } from "./buffer.ts";
import type { Trials } from "./trial.ts";

/** The pixel that output place `o` reads for kernel place `k`, or -1 where it reads zero. */
function sourcePixel(
  o: number,
  k: number,
  { stride, pad, dilation, size }: {
    stride: number;
    pad: number;
    dilation: number;
    size: number;
  },
): number {
  const spread = o * stride + k - pad;
  return spread < 0 || spread % dilation !== 0 || spread / dilation >= size
    ? -1
    : spread / dilation;
}

/** See {@linkcode KernelArgs}. */
export function conv2d(args: KernelArgs["conv2d"]): void {
  const { x, w, bias, stride, padTop, padLeft, dilation, out } = args;
  const [samples, inChannels, height, width] = x.shape as [number, number, number, number];
  const [outChannels, , kernelHeight, kernelWidth] = w.shape as [number, number, number, number];
  const [, , outHeight, outWidth] = out.shape as [number, number, number, number];
  const [X, W, Y] = [floatsOf(x), floatsOf(w), floatsOf(out)];
  const biasData = bias && floatsOf(bias);
  const down = { stride, pad: padTop, dilation, size: height };
  const across = { stride, pad: padLeft, dilation, size: width };
  let outAt = out.offset;
  for (let n = 0; n < samples; n++) {
    for (let co = 0; co < outChannels; co++) {
      for (let oy = 0; oy < outHeight; oy++) {
        for (let ox = 0; ox < outWidth; ox++) {
          let sum = bias ? biasData![bias.offset + co]! : 0;
          for (let ky = 0; ky < kernelHeight; ky++) {
            const iy = sourcePixel(oy, ky, down);
            if (iy < 0) continue;
            for (let kx = 0; kx < kernelWidth; kx++) {
              const ix = sourcePixel(ox, kx, across);
              if (ix < 0) continue;
              for (let ci = 0; ci < inChannels; ci++) {
                sum += X[x.offset + ((n * inChannels + ci) * height + iy) * width + ix]! *
                  W[w.offset + ((co * inChannels + ci) * kernelHeight + ky) * kernelWidth + kx]!;
              }
            }
          }
          Y[outAt++] = sum;
        }
      }
    }
  }
}

/** See {@linkcode KernelArgs}. */
export function conv2dGradWeight(args: KernelArgs["conv2dGradWeight"]): void {
  const { x, g, stride, padTop, padLeft, out } = args;
  const [samples, inChannels, height, width] = x.shape as [number, number, number, number];
  const [, outChannels, outHeight, outWidth] = g.shape as [number, number, number, number];
  const [, , kernelHeight, kernelWidth] = out.shape as [number, number, number, number];
  const [X, G, D] = [floatsOf(x), floatsOf(g), floatsOf(out)];
  const down = { stride, pad: padTop, dilation: 1, size: height };
  const across = { stride, pad: padLeft, dilation: 1, size: width };
  let outAt = out.offset;
  for (let co = 0; co < outChannels; co++) {
    for (let ci = 0; ci < inChannels; ci++) {
      for (let ky = 0; ky < kernelHeight; ky++) {
        for (let kx = 0; kx < kernelWidth; kx++) {
          let sum = 0;
          for (let n = 0; n < samples; n++) {
            for (let oy = 0; oy < outHeight; oy++) {
              const iy = sourcePixel(oy, ky, down);
              if (iy < 0) continue;
              for (let ox = 0; ox < outWidth; ox++) {
                const ix = sourcePixel(ox, kx, across);
                if (ix < 0) continue;
                sum += X[x.offset + ((n * inChannels + ci) * height + iy) * width + ix]! *
                  G[g.offset + ((n * outChannels + co) * outHeight + oy) * outWidth + ox]!;
              }
            }
          }
          D[outAt++] = sum;
        }
      }
    }
  }
}

export const conv2dTrials: Trials<"conv2d"> = [(x) => ({
  x: x.input([2, 5, 9, 7]),
  w: x.input([6, 5, 3, 3]),
  bias: x.input([6]),
  stride: 1,
  padTop: 1,
  padLeft: 1,
  dilation: 1,
  out: x.output([2, 6, 9, 7]),
})];

export const conv2dGradWeightTrials: Trials<"conv2dGradWeight"> = [(x) => ({
  x: x.input([2, 5, 9, 7]),
  g: x.input([2, 6, 9, 7]),
  stride: 1,
  padTop: 1,
  padLeft: 1,
  out: x.output([6, 5, 3, 3]),
})];
