import { type CaseOptions, type ConformanceCase, conformanceCase, normal } from "./fixture.ts";

/** What a convolution of the suite may vary. */
interface Convolution {
  /** [N, Ci, H, W] */
  readonly x: readonly [number, number, number, number];
  readonly outChannels: number;
  /** [KH, KW] */
  readonly kernel: readonly [number, number];
  /** Rows and columns of zeros [top, left, bottom, right]; negative ones cut. */
  readonly pad?: readonly [number, number, number, number];
  readonly stride?: number;
  readonly dilation?: number;
  readonly bias?: boolean;
  /** Of all arrays. */
  readonly dtype?: "f32" | "f16";
}

/** A convolution, and its weight gradient where there is one. */
function convolution(name: string, c: Convolution, options: CaseOptions = {}): ConformanceCase[] {
  const [N, Ci, H, W] = c.x;
  const [KH, KW] = c.kernel;
  const { stride = 1, dilation = 1, outChannels: Co, bias = true, dtype = "f32" } = c;
  const [padTop, padLeft, padBottom, padRight] = c.pad ?? [0, 0, 0, 0];
  const spread = (size: number) => (size - 1) * dilation + 1;
  const OH = Math.floor((spread(H) + padTop + padBottom - KH) / stride) + 1;
  const OW = Math.floor((spread(W) + padLeft + padRight - KW) / stride) + 1;
  const half = dtype === "f16";
  const settings = {
    cost: N * Co * OH * OW * Ci * KH * KW,
    half,
    tolerance: { scaled: half ? 1e-3 : 1e-5 },
    ...options,
  };
  const cases: ConformanceCase[] = [
    conformanceCase("conv2d", name, settings, (f) => ({
      x: f.input([N, Ci, H, W], normal(), dtype),
      w: f.input([Co, Ci, KH, KW], normal(), dtype),
      bias: bias ? f.input([Co], normal(), dtype) : null,
      stride,
      padTop,
      padLeft,
      dilation,
      out: f.output("out", [N, Co, OH, OW], dtype),
    })),
  ];
  if (dilation === 1) {
    cases.push(conformanceCase("conv2dGradWeight", name, settings, (f) => ({
      x: f.input([N, Ci, H, W], normal(), dtype),
      g: f.input([N, Co, OH, OW], normal(), dtype),
      stride,
      padTop,
      padLeft,
      out: f.output("out", [Co, Ci, KH, KW], dtype),
    })));
  }
  return cases;
}

/** Convolutions and their weight gradients. */
export function convCases(): ConformanceCase[] {
  const around = [1, 1, 1, 1] as const;
  const k3 = [3, 3] as const;
  const small = [2, 3, 9, 7] as const;
  return [
    ...convolution("one pixel", { x: [1, 1, 1, 1], outChannels: 1, kernel: [1, 1] }),
    ...convolution("3x3 padded", { x: small, outChannels: 5, kernel: k3, pad: around }),
    ...convolution("3x3 padded, odd offsets", {
      x: small,
      outChannels: 5,
      kernel: k3,
      pad: around,
    }, { lead: 3 }),
    ...convolution("3x3 without padding or bias", {
      x: small,
      outChannels: 4,
      kernel: k3,
      bias: false,
    }),
    ...convolution("3x3 on one pixel", {
      x: [2, 4, 1, 1],
      outChannels: 3,
      kernel: k3,
      pad: around,
    }),
    ...convolution("3x3, 32 to 33 channels", {
      x: [1, 32, 6, 5],
      outChannels: 33,
      kernel: k3,
      pad: around,
    }),
    ...convolution("3x3, 33 to 3 channels, wide", {
      x: [1, 33, 4, 70],
      outChannels: 3,
      kernel: k3,
      pad: around,
    }),
    ...convolution("3x3, 64 to 64 channels", {
      x: [1, 64, 16, 16],
      outChannels: 64,
      kernel: k3,
      pad: around,
    }),
    ...convolution("3x3, 4 to 16 channels of 40x40", {
      x: [2, 4, 40, 40],
      outChannels: 16,
      kernel: k3,
      pad: around,
    }),
    ...convolution("3x3 stride 2, padded below and right", {
      x: [2, 3, 8, 10],
      outChannels: 5,
      kernel: k3,
      stride: 2,
      pad: [0, 0, 1, 1],
    }),
    ...convolution("3x3 stride 2, odd size", {
      x: [1, 3, 7, 5],
      outChannels: 5,
      kernel: k3,
      stride: 2,
      pad: [0, 0, 1, 1],
    }),
    ...convolution("3x3 stride 2, 32 channels", {
      x: [1, 32, 16, 16],
      outChannels: 32,
      kernel: k3,
      stride: 2,
      pad: [0, 0, 1, 1],
    }),
    ...convolution("patches of 2", {
      x: [2, 4, 8, 8],
      outChannels: 9,
      kernel: [2, 2],
      stride: 2,
    }),
    ...convolution("patches of 4", {
      x: [2, 4, 8, 12],
      outChannels: 9,
      kernel: [4, 4],
      stride: 4,
    }),
    ...convolution("patches of 8 of one channel", {
      x: [1, 1, 24, 16],
      outChannels: 70,
      kernel: [8, 8],
      stride: 8,
    }),
    ...convolution("1x1", { x: small, outChannels: 5, kernel: [1, 1] }),
    ...convolution("1x1, 65 to 70 channels", {
      x: [2, 65, 9, 9],
      outChannels: 70,
      kernel: [1, 1],
    }),
    ...convolution("1x1 stride 2", { x: small, outChannels: 5, kernel: [1, 1], stride: 2 }),
    ...convolution("5x3, unequal padding", {
      x: [1, 2, 9, 11],
      outChannels: 3,
      kernel: [5, 3],
      pad: [4, 0, 1, 2],
    }),
    ...convolution("2x2 stride 3, pixels left over", {
      x: [1, 2, 10, 9],
      outChannels: 3,
      kernel: [2, 2],
      stride: 3,
    }),
    ...convolution("f16 3x3 padded", {
      x: small,
      outChannels: 5,
      kernel: k3,
      pad: around,
      dtype: "f16",
    }),
    ...convolution("f16 patches of 2, odd offsets", {
      x: [2, 4, 8, 8],
      outChannels: 9,
      kernel: [2, 2],
      stride: 2,
      dtype: "f16",
    }, { lead: 3 }),
    ...convolution("f16 gradient of patches of 2", {
      x: [2, 9, 4, 4],
      outChannels: 4,
      kernel: [2, 2],
      dilation: 2,
      pad: [1, 1, 1, 1],
      bias: false,
      dtype: "f16",
    }),
    ...convolution("negative padding", {
      x: [2, 3, 9, 8],
      outChannels: 4,
      kernel: k3,
      pad: [-1, -2, 1, 0],
    }),
    ...convolution("gradient of 3x3 stride 2", {
      x: [2, 5, 4, 5],
      outChannels: 3,
      kernel: k3,
      dilation: 2,
      pad: [2, 2, 1, 1],
      bias: false,
    }),
    ...convolution("gradient of 3x3 stride 2, 32 channels", {
      x: [1, 32, 8, 8],
      outChannels: 32,
      kernel: k3,
      dilation: 2,
      pad: [2, 2, 1, 1],
      bias: false,
    }),
    ...convolution("gradient of patches of 4", {
      x: [2, 9, 2, 3],
      outChannels: 4,
      kernel: [4, 4],
      dilation: 4,
      pad: [3, 3, 3, 3],
      bias: false,
    }),
    ...convolution("gradient of stride 2 with negative padding", {
      x: [1, 3, 5, 5],
      outChannels: 2,
      kernel: [2, 2],
      dilation: 2,
      pad: [-1, -1, 1, 2],
      bias: false,
    }),
  ];
}
