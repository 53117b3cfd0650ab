/**
 * Convolution as a matrix product whose right-hand side, the patches, exists only as packed panels
 * (Chetlur et al., "cuDNN: efficient primitives for deep learning", arXiv:1410.0759).
 *
 *     out[n] [Co, pixels] = w [Co, K] . patches[n] [K, pixels]      K = Ci * KH * KW
 *     dw [Co, K]          = sum over n of g[n] [Co, pixels] . patches[n]ᵀ [pixels, K]
 */
import type { KernelArgs } from "../../kernels.ts";
import { claimChunks, kernel } from "../emit/abi.ts";
import { type Func, I32, I64, Module } from "../emit/assembler.ts";
import { geometry, prepareKernel, withPatches } from "./conv_prepare.ts";
import {
  packPatches,
  packPatchesSideways,
  type PatchLayout,
  pushPatchArgs,
} from "./conv_patches.ts";
import { FINISH } from "./epilogue.ts";
import { addProduct, emitProduct, type ProductCode } from "./gemm.ts";
import { packPanels } from "./pack.ts";
import { PLAN, planLocals, planProduct } from "./product_plan.ts";
import type { WasmRuntime } from "../device/runtime.ts";
import { Slots } from "../emit/slots.ts";
import type { Tier } from "../device/tier.ts";

// deno-fmt-ignore
const PRODUCT = new Slots([
  "images", "imageBytes", "taps", "width", "rowBytes", "stride", "a", "aBytes", "batches", "accumulate",
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
  const put = (field: keyof typeof FINISH, value: () => void) => {
    f.get(job);
    value();
    f.mem("i64.store", FINISH[field]);
  };
  for (const field of ["activation", "pre", "preHalf", "outHalf"] as const) {
    put(field, () => f.i64const(0));
  }
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
        prepare(row) {
          put("rowBias", () => f.get(bias).get(row).i64const(4).i64("mul").i64("add"));
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
  const batches = slots.i64("batches"), goesOn = slots.i32("accumulate");
  claimChunks(f, pieces, (number) => {
    const { batch: _, ...ranges } = piece(number);
    f.i64const(0).set(batch);
    f.for64(batch, batches, 1, () => {
      const image = item(images, batch, imageBytes), g = item(gradients, batch, gradientBytes);
      f.get(batch).i64const(0).i64("ne").get(goesOn).i32("or").set(accumulate);
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

function build(tier: Tier): Module {
  const module = new Module();
  prepareKernel(module, tier);
  const code = addProduct(module, tier);
  forwardKernel(module, code);
  gradWeightKernel(module, tier, code);
  return module;
}

/** `conv2d` of the kernel contract. */
export function conv2d(runtime: WasmRuntime, args: KernelArgs["conv2d"]): void {
  const { x, w, bias, out } = args;
  const g = geometry(x.shape, w.shape, out.shape, args, args.dilation);
  const m = w.shape[0]!, n = g.outHeight * g.outWidth;
  const k = g.channels * g.kernelHeight * g.kernelWidth;
  const kernels = runtime.load("conv", build);
  const { kc } = planProduct(runtime, { batches: 1, m, n, k });
  const weights = { address: runtime.address(w), rows: m, kc };
  const outBytes = m * n * 4, outAddress = runtime.address(out);
  withPatches(runtime, "conv2d", kernels("prepare"), g, runtime.address(x), weights, (patches) => {
    const { first, samples, images, imageBytes, rowBytes, taps, packed } = patches;
    const plan = planProduct(runtime, { batches: samples, m, n, k, packedA: true });
    const slots = PRODUCT.fill({
      images,
      imageBytes,
      taps,
      width: g.outWidth,
      rowBytes,
      stride: g.stride,
      a: packed,
      aBytes: 0,
      batches: samples,
      accumulate: 0,
      out: outAddress + first * outBytes,
      outBytes,
      outRow: n * 4,
      bias: bias ? runtime.address(bias) : 0,
    });
    runtime.launch(kernels("forward"), [...PLAN.fill(plan), ...slots], plan);
  });
}

/** `conv2dGradWeight` of the kernel contract. */
export function conv2dGradWeight(
  runtime: WasmRuntime,
  args: KernelArgs["conv2dGradWeight"],
): void {
  const { x, g: gradient, out } = args;
  const g = geometry(x.shape, out.shape, gradient.shape, args, 1);
  const m = out.shape[0]!, k = g.outHeight * g.outWidth;
  const n = g.channels * g.kernelHeight * g.kernelWidth;
  const kernels = runtime.load("conv", build);
  const gradientBytes = m * k * 4, gradientAddress = runtime.address(gradient);
  const op = "conv2dGradWeight";
  withPatches(runtime, op, kernels("prepare"), g, runtime.address(x), null, (patches) => {
    const { first, samples, images, imageBytes, rowBytes, taps } = patches;
    const plan = planProduct(runtime, { batches: samples, m, n, k, summed: true });
    const slots = PRODUCT.fill({
      images,
      imageBytes,
      taps,
      width: g.outWidth,
      rowBytes,
      stride: g.stride,
      a: gradientAddress + first * gradientBytes,
      aBytes: gradientBytes,
      batches: samples,
      accumulate: Number(first > 0),
      out: runtime.address(out),
      outBytes: 0,
      outRow: n * 4,
      bias: 0,
    });
    runtime.launch(kernels("gradWeight"), [...PLAN.fill(plan), ...slots], plan);
  });
}
