/**
 * What a convolution needs before its product: images among the zeros that patches reach into, the
 * offsets of a patch's elements, and the weights packed once for all pieces.
 */
import { claimChunks, kernel } from "../emit/abi.ts";
import { type Func, I64, type Module } from "../emit/assembler.ts";
import { TILES } from "./gemm_kernel.ts";
import { packPanels } from "./pack.ts";
import { min64, vectorContext, walk } from "../emit/rows.ts";
import type { KernelId } from "../device/kernel.ts";
import type { WasmRuntime } from "../device/runtime.ts";
import { Slots } from "../emit/slots.ts";
import type { Tier } from "../device/tier.ts";

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
export function prepareKernel(module: Module, tier: Tier): Func {
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

/** Bytes of padded images at most at a time (more where one image has more). */
const MOST_PADDED_BYTES = 64 << 20;

/** The shapes of one convolution. */
export interface Geometry {
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

export function geometry(
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

/** Where a run of samples can be read by patches. */
export interface Patches {
  /** The first sample of the run, and how many there are. */
  readonly first: number;
  readonly samples: number;
  readonly images: number;
  readonly imageBytes: number;
  /** Image bytes from one output row to the next. */
  readonly rowBytes: number;
  readonly taps: number;
  /** The packed weights. */
  readonly packed: number;
}

/**
 * Runs `use` on all samples, or on some at a time where their padded images take much memory.
 *
 * @param prepare the kernel that `prepareKernel` makes
 * @param x address of the images
 * @param weights to pack, if any
 */
export function withPatches(
  runtime: WasmRuntime,
  op: string,
  prepare: KernelId,
  g: Geometry,
  x: number,
  weights: { address: number; rows: number; kc: number } | null,
  use: (patches: Patches) => void,
): void {
  const tile = TILES[runtime.tier];
  const k = g.channels * g.kernelHeight * g.kernelWidth;
  const rows = (g.outHeight - 1) * g.stride + g.kernelHeight;
  const columns = (g.outWidth - 1) * g.stride + g.kernelWidth;
  const inPlace = g.padTop === 0 && g.padLeft === 0 && g.dilation === 1 && rows <= g.height &&
    columns <= g.width;
  const height = inPlace ? g.height : rows, width = inPlace ? g.width : columns;
  const planeBytes = g.height * g.width * 4, paddedBytes = height * width * 4;
  const imageBytes = g.channels * paddedBytes;
  const fitting = Math.max(1, Math.floor(MOST_PADDED_BYTES / imageBytes));
  const group = inPlace ? g.samples : Math.min(g.samples, fitting);
  const weightTasks = weights ? Math.ceil(weights.rows / tile.rows) : 0;
  const ceilTo = (bytes: number) => Math.ceil(bytes / 128) * 128;
  const tapBytes = ceilTo(k * 4), packedBytes = ceilTo(weightTasks * tile.rows * k * 4);
  const temp = runtime.allocTemp(tapBytes + packedBytes + (inPlace ? 0 : group * imageBytes), op);
  const packed = temp + tapBytes, padded = inPlace ? temp : packed + packedBytes;
  try {
    writeTaps(runtime, temp, g, height, width);
    const [firstRow, endRow] = inside(g.padTop, height, g.height, g.dilation);
    const [firstColumn, endColumn] = inside(g.padLeft, width, g.width, g.dilation);
    for (let first = 0; first < g.samples; first += group) {
      const samples = Math.min(group, g.samples - first);
      const planes = inPlace ? 0 : samples * g.channels;
      const packs = first === 0 ? weightTasks : 0;
      if (packs + planes > 0) {
        const slots = PREPARE.fill({
          tasks: packs + planes,
          weightTasks: packs,
          weights: weights?.address ?? 0,
          packed,
          rows: weights?.rows ?? 0,
          k,
          kc: weights?.kc ?? 0,
          image: x + first * g.channels * planeBytes,
          padded,
          imageWidth: g.width,
          imageBytes: planeBytes,
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
        const work = (packedBytes + planes * paddedBytes) / 4;
        runtime.launch(prepare, slots, { threads: runtime.threadsFor(work) });
      }
      use({
        first,
        samples,
        images: inPlace ? x : padded,
        imageBytes,
        rowBytes: g.stride * width * 4,
        taps: temp,
        packed,
      });
    }
  } finally {
    runtime.freeTemp(temp);
  }
}

/** Writes the offset, in elements, of each element of a patch from its first. */
function writeTaps(
  runtime: WasmRuntime,
  address: number,
  g: Geometry,
  height: number,
  width: number,
): void {
  const k = g.channels * g.kernelHeight * g.kernelWidth;
  const taps = new Int32Array(k);
  for (let c = 0, i = 0; c < g.channels; c++) {
    for (let ky = 0; ky < g.kernelHeight; ky++) {
      for (let kx = 0; kx < g.kernelWidth; kx++) taps[i++] = (c * height + ky) * width + kx;
    }
  }
  runtime.writeAt(address, new Uint8Array(taps.buffer));
}

/** The image's rows i (or columns), first and end, with 0 <= i * dilation + pad < size. */
function inside(pad: number, size: number, count: number, dilation: number): [number, number] {
  const first = Math.max(0, Math.ceil(-pad / dilation));
  return [first, Math.max(first, Math.min(count, Math.ceil((size - pad) / dilation)))];
}
