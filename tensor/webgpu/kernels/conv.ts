/**
 * Convolutions as matrix products whose right operand is never built: its elements are found in
 * the image by index arithmetic ("implicit GEMM"). No division in that arithmetic is by a number that
 * the compiler does not know: the kernel's size is literal, and the image's is a shift where it is a
 * power of two (one shader then serves all layers of a model), and else literal as well.
 */
import type { KernelArgs } from "../../kernels.ts";
import type { View } from "../../view.ts";
import { matmul } from "./matmul.ts";
import { runProduct } from "./product.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import { stridedOperand } from "../shader/strided.ts";
import type { Operand } from "../shader/tile.ts";
import { ranInChunks } from "../device/chunks.ts";

/** Sizes of a convolution; `pixels` are those of the result. */
interface Geometry {
  readonly samples: number;
  readonly inChannels: number;
  readonly height: number;
  readonly width: number;
  readonly outChannels: number;
  readonly outWidth: number;
  readonly pixels: number;
  readonly kernelHeight: number;
  readonly kernelWidth: number;
  readonly stride: number;
  readonly padTop: number;
  readonly padLeft: number;
  readonly dilation: number;
}

function geometryOf(
  x: View,
  outShape: readonly number[],
  kernelShape: readonly number[],
  { stride, padTop, padLeft, dilation }: {
    stride: number;
    padTop: number;
    padLeft: number;
    dilation: number;
  },
): Geometry {
  const [samples, inChannels, height, width] = x.shape as [number, number, number, number];
  const [, outChannels, outHeight, outWidth] = outShape as [number, number, number, number];
  return {
    samples,
    inChannels,
    height,
    width,
    outChannels,
    outWidth,
    pixels: outHeight * outWidth,
    kernelHeight: kernelShape[2]!,
    kernelWidth: kernelShape[3]!,
    stride,
    padTop,
    padLeft,
    dilation,
  };
}

/** Division of indices by one size of a result. */
interface Divisor {
  readonly key: string;
  readonly uniforms: Readonly<Record<string, number>>;
  quotient(index: string): string;
  remainder(index: string): string;
}

function divisor(name: string, value: number): Divisor {
  const log2 = Math.log2(value);
  if (!Number.isInteger(log2)) {
    return {
      key: `${value}`,
      uniforms: {},
      quotient: (index) => `(${index} / ${value}u)`,
      remainder: (index) => `(${index} % ${value}u)`,
    };
  }
  return {
    key: "shift",
    uniforms: { [`${name}Shift`]: log2, [`${name}Mask`]: value - 1 },
    quotient: (index) => `(${index} >> params.${name}Shift)`,
    remainder: (index) => `(${index} & params.${name}Mask)`,
  };
}

/** Pixels of a result, and their rows and columns. */
interface Pixels {
  readonly all: Divisor;
  readonly across: Divisor;
  /** First row or column of the image under pixel `pixel` of a sample, but for the padding. */
  row(pixel: string): string;
  column(pixel: string): string;
}

function pixelsOf({ pixels, outWidth }: Geometry): Pixels {
  const [all, across] = [divisor("pixels", pixels), divisor("outWidth", outWidth)];
  return {
    all,
    across,
    row: (pixel) => `i32(${across.quotient(pixel)} * params.stride)`,
    column: (pixel) => `i32(${across.remainder(pixel)} * params.stride)`,
  };
}

/** What distinguishes the shaders of two convolutions. */
function keyOf(g: Geometry, { all, across }: Pixels): string {
  return `${g.kernelHeight}x${g.kernelWidth}x${g.dilation}/${all.key}x${across.key}`;
}

/** The sizes that shaders read as uniforms; paddings below 0 wrap, and are read as i32. */
function uniformsOf(g: Geometry, { all, across }: Pixels): Readonly<Record<string, number>> {
  const { height, width, outChannels, pixels, stride, padTop, padLeft } = g;
  return {
    ...all.uniforms,
    ...across.uniforms,
    height,
    width,
    channelPixels: height * width,
    samplePixels: g.inChannels * height * width,
    outChannels,
    pixels,
    stride,
    padTop,
    padLeft,
  };
}

/** See {@linkcode KernelArgs}. */
export function conv2d(runtime: WebGpuRuntime, args: KernelArgs["conv2d"], op: string): void {
  const again = (part: typeof args): void => conv2d(runtime, part, op);
  if (ranInChunks(runtime, "conv2d", args, op, again)) return;
  const { x, w, bias, out } = args;
  const geometry = geometryOf(x, out.shape, w.shape, args);
  if (isPointwise(geometry)) {
    pointwise(runtime, args, geometry, op);
    return;
  }
  const places = pixelsOf(geometry);
  const { samples, outChannels, pixels } = geometry;
  const k = w.shape[1]! * w.shape[2]! * w.shape[3]!;
  const weight = stridedOperand("w", matrix(w, outChannels, k), 2, 3, "params.m");
  const byVec4 = pixels % 4 === 0 && out.offset % 4 === 0;
  runProduct(runtime, {
    op,
    key: `conv2d/${keyOf(geometry, places)}/${weight.key}/` +
      `${byVec4 ? 4 : 1}${bias ? "bias" : ""}`,
    batches: 1,
    m: outChannels,
    n: samples * pixels,
    k,
    left: weight,
    right: patches(geometry, places),
    locate: "  let outer = 0u;\n  let inner = 0u;",
    inputs: [weight.binding, { name: "x", view: x, access: "read" }],
    declarations: pixelSource(geometry),
    finish: finishSource(
      byVec4,
      `(${places.all.quotient("column")} * params.outChannels + row) * params.pixels + ${
        places.all.remainder("column")
      }`,
      bias !== null,
    ),
    outputs: [
      { name: "result", view: out, access: "write", vec4: byVec4 },
      ...bias ? [{ name: "bias", view: bias, access: "read" } as const] : [],
    ],
    uniforms: {
      ...weight.uniforms,
      ...uniformsOf(geometry, places),
      biasStep: bias?.strides[0] ?? 0,
    },
  });
}

/** Whether the convolution is a matrix product of the channels of each pixel. */
function isPointwise(g: Geometry): boolean {
  return g.kernelHeight === 1 && g.kernelWidth === 1 && g.stride === 1 && g.padTop === 0 &&
    g.padLeft === 0 && g.dilation === 1 && g.outWidth === g.width &&
    g.pixels === g.height * g.width;
}

function pointwise(
  runtime: WebGpuRuntime,
  { x, w, bias, out }: KernelArgs["conv2d"],
  { samples, inChannels, outChannels, pixels }: Geometry,
  op: string,
): void {
  const image = (view: View, channels: number): View => ({
    ...view,
    shape: [samples, 1, channels, pixels],
    strides: [channels * pixels, 0, pixels, 1],
  });
  const weight = matrix(w, outChannels, inChannels);
  matmul(
    runtime,
    {
      a: { ...weight, shape: [samples, 1, outChannels, inChannels] },
      b: image(x, inChannels),
      bias: null,
      activation: "none",
      pre: null,
      out: image(out, outChannels),
      accumulate: false,
    },
    op,
    { rowBias: bias },
  );
}

/** A contiguous array as one matrix. */
function matrix(view: View, rows: number, columns: number): View {
  return { ...view, shape: [1, 1, rows, columns], strides: [0, 0, columns, 1] };
}

/** `x_pixel`: a pixel of a channel that begins at `at`, 0 outside the image or between pixels. */
function pixelSource({ dilation }: Geometry): string {
  const between = dilation === 1 ? "" : `
  if (row % ${dilation} != 0 || column % ${dilation} != 0) { return 0.0; }`;
  const spread = dilation === 1 ? "" : ` / ${dilation}`;
  return `
fn x_pixel(at: u32, row: i32, column: i32) -> f32 {
  if (row < 0 || column < 0) { return 0.0; }${between}
  let y = u32(row${spread});
  let x = u32(column${spread});
  if (y >= params.height || x >= params.width) { return 0.0; }
  return x_load(at + y * params.width + x);
}`;
}

/** The right operand of conv2d: columns are pixels of all samples, depths (channel, ky, kx). */
function patches({ kernelHeight, kernelWidth }: Geometry, places: Pixels): Operand {
  const taps = kernelHeight * kernelWidth;
  return {
    order: "across",
    prepare: (x) =>
      [0, 1, 2, 3].map((lane) =>
        `  let xPlace${lane} = min(${x} + ${lane}u, params.n - 1u);
  let xPixel${lane} = ${places.all.remainder(`xPlace${lane}`)};
  let xAt${lane} = ${places.all.quotient(`xPlace${lane}`)} * params.samplePixels;
  let xRow${lane} = ${places.row(`xPixel${lane}`)} - i32(params.padTop);
  let xColumn${lane} = ${places.column(`xPixel${lane}`)} - i32(params.padLeft);`
      )
        .join("\n"),
    load: (name, k) =>
      `      let channelAt = ${k} / ${taps}u * params.channelPixels;
      let ky = i32(${k} % ${taps}u / ${kernelWidth}u);
      let kx = i32(${k} % ${kernelWidth}u);
      let ${name} = vec4f(${
        [0, 1, 2, 3].map((lane) =>
          `x_pixel(xAt${lane} + channelAt, xRow${lane} + ky, xColumn${lane} + kx)`
        ).join(",\n        ")
      });`,
  };
}

/** See {@linkcode KernelArgs}. */
export function conv2dGradWeight(
  runtime: WebGpuRuntime,
  args: KernelArgs["conv2dGradWeight"],
  op: string,
): void {
  const again = (part: typeof args): void => conv2dGradWeight(runtime, part, op);
  if (ranInChunks(runtime, "conv2dGradWeight", args, op, again)) return;
  const { x, g, out } = args;
  const geometry = geometryOf(x, g.shape, out.shape, { ...args, dilation: 1 });
  const places = pixelsOf(geometry);
  const { samples, outChannels, pixels } = geometry;
  const n = out.shape[1]! * out.shape[2]! * out.shape[3]!;
  const gradByFours = pixels % 4 === 0 && g.offset % 4 === 0;
  const byVec4 = n % 4 === 0 && out.offset % 4 === 0;
  runProduct(runtime, {
    op,
    key: `conv2dGradWeight/${keyOf(geometry, places)}/` +
      `${gradByFours ? 4 : 1}${byVec4 ? 4 : 1}`,
    batches: 1,
    m: outChannels,
    n,
    k: samples * pixels,
    left: gradient(places, gradByFours),
    right: patchesAlongPixels(geometry, places),
    locate: "",
    inputs: [
      { name: "x", view: x, access: "read" },
      { name: "g", view: g, access: "read", vec4: gradByFours },
    ],
    declarations: pixelSource(geometry),
    finish: finishSource(byVec4, "row * params.n + column", false),
    outputs: [{ name: "result", view: out, access: "write", vec4: byVec4 }],
    uniforms: uniformsOf(geometry, places),
  });
}

/** The left operand of the weight gradient: rows are output channels, depths pixels. */
function gradient({ all }: Pixels, byVec4: boolean): Operand {
  const place = (k: string, lane: number): string =>
    `${all.quotient(k)} * params.outChannels * params.pixels + gAt${lane} + ${all.remainder(k)}`;
  return {
    order: "deep",
    prepare: (x) =>
      [0, 1, 2, 3].map((lane) =>
        `  let gAt${lane} = min(${x} + ${lane}u, params.m - 1u) * params.pixels;`
      ).join("\n"),
    load: (name, k, lane) =>
      `      let ${name} = ${
        byVec4
          ? `g_load4(${place(k, lane)})`
          : `vec4f(${[0, 1, 2, 3].map((i) => `g_load(${place(`(${k} + ${i}u)`, lane)})`).join()})`
      };`,
  };
}

/** Its right operand: columns are (channel, ky, kx), depths pixels, which lie side by side. */
function patchesAlongPixels({ kernelHeight, kernelWidth }: Geometry, places: Pixels): Operand {
  const taps = kernelHeight * kernelWidth;
  const tap = (k: string, lane: number): string => {
    const pixel = places.all.remainder(k);
    return `x_pixel(${places.all.quotient(k)} * params.samplePixels + xAt${lane},
        ${places.row(pixel)} + xRow${lane}, ${places.column(pixel)} + xColumn${lane})`;
  };
  return {
    order: "deep",
    prepare: (x) =>
      [0, 1, 2, 3].map((lane) =>
        `  let tap${lane} = min(${x} + ${lane}u, params.n - 1u);
  let xAt${lane} = tap${lane} / ${taps}u * params.channelPixels;
  let xRow${lane} = i32(tap${lane} % ${taps}u / ${kernelWidth}u) - i32(params.padTop);
  let xColumn${lane} = i32(tap${lane} % ${kernelWidth}u) - i32(params.padLeft);`
      ).join("\n"),
    load: (name, k, lane) =>
      `      let ${name} = vec4f(${
        [0, 1, 2, 3].map((i) => tap(`(${k} + ${i}u)`, lane)).join(",\n        ")
      });`,
  };
}

/** Stores the product, plus a bias a row, at `place` of `row` and `column`. */
function finishSource(byVec4: boolean, place: string, bias: boolean): string {
  const value = `sum${bias ? " + bias_load(row * params.biasStep)" : ""}`;
  if (byVec4) {
    return `
fn finish(batch: u32, row: u32, column: u32, sum: vec4f) {
  if (row >= params.m || column >= params.n) { return; }
  result_store4(${place}, ${value});
}`;
  }
  return `
fn finishOne(row: u32, column: u32, sum: f32) {
  if (row >= params.m || column >= params.n) { return; }
  result_store(${place}, ${value});
}
fn finish(batch: u32, row: u32, column: u32, sum: vec4f) {
  finishOne(row, column, sum.x);
  finishOne(row, column + 1u, sum.y);
  finishOne(row, column + 2u, sum.z);
  finishOne(row, column + 3u, sum.w);
}`;
}
