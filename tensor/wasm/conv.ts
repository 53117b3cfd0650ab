/**
 * Convolution as a matrix product whose right-hand side, the patches, exists only as packed panels
 * (Chetlur et al., "cuDNN: efficient primitives for deep learning", arXiv:1410.0759).
 *
 *     out[n] [Co, pixels] = w [Co, K] . patches[n] [K, pixels]      K = Ci * KH * KW
 *     dw [Co, K]          = sum over n of g[n] [Co, pixels] . patches[n]ᵀ [pixels, K]
 */
import type { KernelArgs } from "../backend.ts";
import { claimChunks, kernel } from "./abi.ts";
import { type Func, I32, I64, Module } from "./assembler.ts";
import {
  packPatches,
  packPatchesSideways,
  type PatchLayout,
  pushPatchArgs,
} from "./conv_patches.ts";
import { FINISH } from "./epilogue.ts";
import { addProduct, emitProduct, type ProductCode } from "./gemm.ts";
import { TILES } from "./gemm_kernel.ts";
import { packPanels } from "./pack.ts";
import { PLAN, planLocals, planProduct } from "./product_plan.ts";
import { min64, vectorContext, walk } from "./rows.ts";
import type { WasmRuntime } from "./runtime.ts";
import { Slots } from "./slots.ts";
import type { Tier } from "./tier.ts";

// deno-fmt-ignore
const PREPARE = new Slots([
  "tasks", "weightTasks", "weights", "packed", "rows", "k", "kc",
  "image", "padded", "imageWidth", "imageBytes", "paddedWidth", "paddedBytes", "top", "left",
  "dilation", "firstRow", "endRow", "firstColumn", "endColumn",
]);

/**
 * Packs weights (one tile's rows a task, all of k in blocks of `kc`) and copies images among zeros
 * (one channel a task).
 */
function prepareKernel(module: Module, tier: Tier): Func {
  const tile = TILES[tier];
  const pack = packPanels(module, tier, tile.rows);
  const f = kernel("prepare");
  const c = vectorContext(f);
  const slots = PREPARE.of(f);
  const weightTasks = slots.i32("weightTasks");
  const weights = slots.i64("weights"), packed = slots.i64("packed");
  const rows = slots.i64("rows"), k = slots.i64("k"), kc = slots.i64("kc");
  const image = slots.i64("image"), padded = slots.i64("padded");
  const imageWidth = slots.i64("imageWidth"), imageBytes = slots.i64("imageBytes");
  const paddedWidth = slots.i64("paddedWidth"), paddedBytes = slots.i64("paddedBytes");
  const top = slots.i64("top"), left = slots.i64("left"), dilation = slots.i64("dilation");
  const firstRow = slots.i64("firstRow"), endRow = slots.i64("endRow");
  const firstColumn = slots.i64("firstColumn"), endColumn = slots.i64("endColumn");
  const allRows = f.local(I64), columns = f.local(I64);
  f.get(rows).i64const(tile.rows - 1).i64("add").i64const(tile.rows).i64("div_u");
  f.i64const(tile.rows).i64("mul").set(allRows);
  f.get(endColumn).get(firstColumn).i64("sub").set(columns);

  const packWeights = (task: number) => {
    const row = f.local(I64), p = f.local(I64), kBytes = f.local(I64);
    f.get(task).i64("extend_i32_u").i64const(tile.rows).i64("mul").set(row);
    f.get(k).i64const(4).i64("mul").set(kBytes);
    f.i64const(0).set(p);
    f.for64(p, k, (f) => f.get(kc), () => {
      const steps = min64(f, kc, (f) => f.get(k).get(p).i64("sub"));
      f.get(weights).get(row).get(kBytes).i64("mul").i64("add");
      f.get(p).i64const(4).i64("mul").i64("add");
      f.get(packed).get(p).get(allRows).i64("mul").get(row).get(steps).i64("mul").i64("add");
      f.i64const(4).i64("mul").i64("add");
      f.get(steps).get(kBytes).i64const(4);
      f.get(min64(f, (f) => f.i64const(tile.rows), (f) => f.get(rows).get(row).i64("sub")));
      f.call(pack);
    });
  };
  const padPlane = (task: number) => {
    const plane = f.local(I64), from = f.local(I64), to = f.local(I64), y = f.local(I64);
    const source = f.local(I64), target = f.local(I64), x = f.local(I64);
    f.get(task).get(weightTasks).i32("sub").i64("extend_i32_u").set(plane);
    f.get(image).get(plane).get(imageBytes).i64("mul").i64("add").set(from);
    f.get(padded).get(plane).get(paddedBytes).i64("mul").i64("add").set(to);
    f.get(to).i32const(0).get(paddedBytes).memoryFill();
    f.get(firstRow).set(y);
    f.for64(y, endRow, 1, () => {
      f.get(y).get(imageWidth).i64("mul").get(firstColumn).i64("add").i64const(4).i64("mul");
      f.get(from).i64("add").set(source);
      f.get(y).get(dilation).i64("mul").get(top).i64("add").get(paddedWidth).i64("mul");
      f.get(firstColumn).get(dilation).i64("mul").i64("add").get(left).i64("add");
      f.i64const(4).i64("mul").get(to).i64("add").set(target);
      f.get(dilation).i64const(1).i64("eq").if(() => {
        walk(c, columns, [source, target], (step) => step.store(1, step.load(0)));
      }, () => {
        f.i64const(0).set(x);
        f.for64(x, columns, 1, () => {
          f.get(target).get(source).mem("f32.load").mem("f32.store").advance(source, 4);
          f.get(target).get(dilation).i64const(4).i64("mul").i64("add").set(target);
        });
      });
    });
  };
  claimChunks(f, slots.i32("tasks"), (task) => {
    f.get(task).get(weightTasks).i32("lt_u").if(() => packWeights(task), () => padPlane(task));
  });
  return module.add(f);
}

// deno-fmt-ignore
const PRODUCT = new Slots([
  "images", "imageBytes", "taps", "width", "rowBytes", "stride", "a", "aBytes", "batches",
  "out", "outBytes", "outRow", "bias",
], [], PLAN.end);

/** What both products begin with. */
function beginProduct(name: string) {
  const f = kernel(name);
  const slots = PRODUCT.of(f);
  const layout: PatchLayout = {
    taps: slots.i64("taps"),
    width: slots.i64("width"),
    rowBytes: slots.i64("rowBytes"),
    stride: slots.i64("stride"),
  };
  /** The address of item `index`, in a new local. */
  const item = (base: number, index: number, bytes: number) => {
    const address = f.local(I64);
    f.get(base).get(index).get(bytes).i64("mul").i64("add").set(address);
    return address;
  };
  return { f, slots, layout, item, plan: planLocals(f) };
}

/** `layout` with the taps from `first` on. */
function tapsFrom(f: Func, layout: PatchLayout, first: number): PatchLayout {
  const taps = f.local(I64);
  f.get(layout.taps).get(first).i64const(4).i64("mul").i64("add").set(taps);
  return { ...layout, taps };
}

function forwardKernel(module: Module, code: ProductCode): Func {
  const { tile } = code;
  const pack = packPatches(module, tile);
  const { f, slots, layout, item, plan } = beginProduct("forward");
  const { blocks, m, finish: job, pieces, piece } = plan;
  const weights = slots.i64("a"), bias = slots.i64("bias");
  const images = slots.i64("images"), imageBytes = slots.i64("imageBytes");
  const out = slots.i64("out"), outBytes = slots.i64("outBytes"), outRow = slots.i64("outRow");
  const put = (field: Exclude<keyof typeof FINISH, "bytes">, value: () => void) => {
    f.get(job);
    value();
    f.mem("i64.store", FINISH[field]);
  };
  for (
    const field of [
      "activation",
      "biasHalf",
      "pre",
      "preRowBytes",
      "preHalf",
      "outHalf",
      "add",
    ] as const
  ) put(field, () => f.i64const(0));
  put("biasPerRow", () => f.i64const(1));
  put("outRowBytes", () => f.get(outRow));
  const finish = f.local(I64), allRows = f.local(I64), never = f.local(I32);
  f.get(job).i64const(0).get(bias).i64const(0).i64("ne").select().set(finish);
  f.get(m).i64const(tile.rows - 1).i64("add").i64const(tile.rows).i64("div_u");
  f.i64const(tile.rows).i64("mul").set(allRows);

  claimChunks(f, pieces, (number) => {
    const { batch, ...ranges } = piece(number);
    const image = item(images, batch, imageBytes), c = item(out, batch, outBytes);
    emitProduct(f, code, {
      ...ranges,
      ...blocks,
      c,
      ldc: outRow,
      accumulate: never,
      packA({ dst, row, p, steps }) {
        f.get(weights).get(p).get(allRows).i64("mul").get(row).get(steps).i64("mul").i64("add");
        f.i64const(4).i64("mul").i64("add").set(dst);
      },
      packB({ dst, column, lines, p, steps }) {
        pushPatchArgs(f, image, tapsFrom(f, layout, p), { dst, steps, pixel: column, lines });
        f.call(pack);
      },
      finish: {
        job: finish,
        prepare(row, column) {
          put("bias", () => f.get(bias).get(row).i64const(4).i64("mul").i64("add"));
          put("out", () => {
            f.get(c).get(row).get(outRow).i64("mul").i64("add");
            f.get(column).i64const(4).i64("mul").i64("add");
          });
        },
      },
    });
  });
  return module.add(f);
}

function gradWeightKernel(module: Module, tier: Tier, code: ProductCode): Func {
  const { tile } = code;
  const packG = packPanels(module, tier, tile.rows);
  const pack = packPatchesSideways(module, tile);
  const { f, slots, layout, item, plan } = beginProduct("gradWeight");
  const { blocks, pieces, piece } = plan;
  const gradients = slots.i64("a"), gradientBytes = slots.i64("aBytes");
  const images = slots.i64("images"), imageBytes = slots.i64("imageBytes");
  const out = slots.i64("out"), outRow = slots.i64("outRow");
  const pixelBytes = f.local(I64), batch = f.local(I64), accumulate = f.local(I32);
  f.get(blocks.k).i64const(4).i64("mul").set(pixelBytes);
  const batches = slots.i64("batches");
  claimChunks(f, pieces, (number) => {
    const { batch: _, ...ranges } = piece(number);
    f.i64const(0).set(batch);
    f.for64(batch, batches, 1, () => {
      const image = item(images, batch, imageBytes), g = item(gradients, batch, gradientBytes);
      f.get(batch).i64const(0).i64("ne").set(accumulate);
      emitProduct(f, code, {
        ...ranges,
        ...blocks,
        c: out,
        ldc: outRow,
        accumulate,
        packA({ dst, row, lines, p, steps }) {
          f.get(g).get(row).get(pixelBytes).i64("mul").i64("add");
          f.get(p).i64const(4).i64("mul").i64("add");
          f.get(dst).get(steps).get(pixelBytes).i64const(4).get(lines).call(packG);
        },
        packB({ dst, column, lines, p, steps }) {
          pushPatchArgs(f, image, tapsFrom(f, layout, column), { dst, steps, pixel: p, lines });
          f.call(pack);
        },
      });
    });
  });
  return module.add(f);
}

function build(tier: Tier): Uint8Array<ArrayBuffer> {
  const module = new Module();
  prepareKernel(module, tier);
  const code = addProduct(module, tier);
  forwardKernel(module, code);
  gradWeightKernel(module, tier, code);
  return module.bytes();
}

/** The shapes of one convolution. */
interface Geometry {
  readonly samples: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly kernelHeight: number;
  readonly kernelWidth: number;
  readonly outHeight: number;
  readonly outWidth: number;
  readonly stride: number;
  readonly padTop: number;
  readonly padLeft: number;
  readonly dilation: number;
}

function geometry(
  x: readonly number[],
  w: readonly number[],
  out: readonly number[],
  { stride, padTop, padLeft }: { stride: number; padTop: number; padLeft: number },
  dilation: number,
): Geometry {
  const [samples, channels, height, width] = x as [number, number, number, number];
  const kernelHeight = w[2]!, kernelWidth = w[3]!, outHeight = out[2]!, outWidth = out[3]!;
  // Without neighbours an image may as well be one row.
  const flat = kernelHeight === 1 && kernelWidth === 1 && stride === 1 && dilation === 1 &&
    outHeight === height && outWidth === width;
  return {
    samples,
    channels,
    height: flat ? 1 : height,
    width: flat ? height * width : width,
    kernelHeight,
    kernelWidth,
    outHeight: flat ? 1 : outHeight,
    outWidth: flat ? height * width : outWidth,
    stride,
    padTop,
    padLeft,
    dilation,
  };
}

/**
 * Runs `use` with the images as patches can be read from them, and the weights packed if given.
 */
function withPatches(
  runtime: WasmRuntime,
  op: string,
  g: Geometry,
  x: number,
  weights: { address: number; rows: number; kc: number } | null,
  use: (
    p: { images: number; imageBytes: number; rowBytes: number; taps: number; packed: number },
  ) => void,
): void {
  const { tier } = runtime;
  const tile = TILES[tier];
  const k = g.channels * g.kernelHeight * g.kernelWidth;
  const rows = (g.outHeight - 1) * g.stride + g.kernelHeight;
  const columns = (g.outWidth - 1) * g.stride + g.kernelWidth;
  const inPlace = g.padTop === 0 && g.padLeft === 0 && g.dilation === 1 && rows <= g.height &&
    columns <= g.width;
  const [height, width] = inPlace ? [g.height, g.width] : [rows, columns];
  const planes = inPlace ? 0 : g.samples * g.channels;
  const weightTasks = weights ? Math.ceil(weights.rows / tile.rows) : 0;
  const packedBytes = weightTasks * tile.rows * k * 4;
  const paddedBytes = height * width * 4;
  const ceilTo = (bytes: number) => Math.ceil(bytes / 128) * 128;
  const temp = runtime.allocTemp(
    ceilTo(k * 4) + ceilTo(packedBytes) + planes * paddedBytes,
    op,
  );
  try {
    const packed = temp + ceilTo(k * 4), padded = packed + ceilTo(packedBytes);
    const bytes = runtime.bytesAt(temp, k * 4);
    const taps = new Int32Array(bytes.buffer, bytes.byteOffset, k);
    for (let c = 0, i = 0; c < g.channels; c++) {
      for (let ky = 0; ky < g.kernelHeight; ky++) {
        for (let kx = 0; kx < g.kernelWidth; kx++) taps[i++] = (c * height + ky) * width + kx;
      }
    }
    // Image rows i with 0 <= i * dilation + pad < size, and columns likewise.
    const inside = (pad: number, size: number, most: number) => {
      const first = Math.max(0, Math.ceil(-pad / g.dilation));
      return [first, Math.max(first, Math.min(most, Math.ceil((size - pad) / g.dilation)))];
    };
    const [firstRow, endRow] = inside(g.padTop, height, g.height) as [number, number];
    const [firstColumn, endColumn] = inside(g.padLeft, width, g.width) as [number, number];
    const slots = PREPARE.fill({
      tasks: weightTasks + planes,
      weightTasks,
      weights: weights?.address ?? 0,
      packed,
      rows: weights?.rows ?? 0,
      k,
      kc: weights?.kc ?? 0,
      image: x,
      padded,
      imageWidth: g.width,
      imageBytes: g.height * g.width * 4,
      paddedWidth: width,
      paddedBytes,
      top: g.padTop,
      left: g.padLeft,
      dilation: g.dilation,
      firstRow,
      endRow,
      firstColumn,
      endColumn,
    });
    if (weightTasks + planes > 0) {
      const work = packedBytes / 4 + planes * height * width;
      runtime.launch(runtime.load(`conv ${tier}`, () => build(tier))("prepare"), slots, {
        threads: runtime.threadsFor(work),
      });
    }
    use({
      images: inPlace ? x : padded,
      imageBytes: g.channels * paddedBytes,
      rowBytes: g.stride * width * 4,
      taps: temp,
      packed,
    });
  } finally {
    runtime.freeTemp(temp);
  }
}

/** `conv2d` of the kernel contract. */
export function conv2d(runtime: WasmRuntime, args: KernelArgs["conv2d"]): void {
  const { x, w, bias, out } = args;
  const { tier } = runtime;
  const g = geometry(x.shape, w.shape, out.shape, args, args.dilation);
  const m = w.shape[0]!, n = g.outHeight * g.outWidth;
  const k = g.channels * g.kernelHeight * g.kernelWidth;
  const plan = planProduct(runtime, { batches: g.samples, m, n, k, packedA: true });
  const weights = { address: runtime.address(w), rows: m, kc: plan.kc };
  withPatches(runtime, "conv2d", g, runtime.address(x), weights, (patches) => {
    const { images, imageBytes, rowBytes, taps, packed } = patches;
    const slots = PRODUCT.fill({
      images,
      imageBytes,
      taps,
      width: g.outWidth,
      rowBytes,
      stride: g.stride,
      a: packed,
      aBytes: 0,
      batches: g.samples,
      out: runtime.address(out),
      outBytes: m * n * 4,
      outRow: n * 4,
      bias: bias ? runtime.address(bias) : 0,
    });
    const kernelId = runtime.load(`conv ${tier}`, () => build(tier))("forward");
    runtime.launch(kernelId, [...PLAN.fill(plan), ...slots], plan);
  });
}

/** `conv2dGradWeight` of the kernel contract. */
export function conv2dGradWeight(
  runtime: WasmRuntime,
  args: KernelArgs["conv2dGradWeight"],
): void {
  const { x, g: gradient, out } = args;
  const { tier } = runtime;
  const g = geometry(x.shape, out.shape, gradient.shape, args, 1);
  const m = out.shape[0]!, k = g.outHeight * g.outWidth;
  const n = g.channels * g.kernelHeight * g.kernelWidth;
  const plan = planProduct(runtime, { batches: g.samples, m, n, k, summed: true });
  withPatches(runtime, "conv2dGradWeight", g, runtime.address(x), null, (patches) => {
    const { images, imageBytes, rowBytes, taps } = patches;
    const slots = PRODUCT.fill({
      images,
      imageBytes,
      taps,
      width: g.outWidth,
      rowBytes,
      stride: g.stride,
      a: runtime.address(gradient),
      aBytes: m * k * 4,
      batches: g.samples,
      out: runtime.address(out),
      outBytes: 0,
      outRow: n * 4,
      bias: 0,
    });
    const kernelId = runtime.load(`conv ${tier}`, () => build(tier))("gradWeight");
    runtime.launch(kernelId, [...PLAN.fill(plan), ...slots], plan);
  });
}
