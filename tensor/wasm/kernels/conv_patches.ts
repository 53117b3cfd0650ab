/**
 * How convolutions read images. An image is first copied among the zeros it needs (padding, and
 * gaps where the input is spread), so that every patch lies inside; then element k = (channel, ky,
 * kx) of the patch at output pixel (oy, ox) is at `taps[k] + (oy * rowBytes + ox * stride * 4)`.
 * The matrix of all patches is never built: its panels are packed from the image.
 */
import { Func, I64, type Module, V128 } from "../emit/assembler.ts";
import type { Tile } from "./gemm_kernel.ts";
import { transpose4 } from "./pack.ts";
import { min64 } from "../emit/rows.ts";

/** Locals that say where patches lie. All i64. */
export interface PatchLayout {
  /** Address of the offsets (i32, in elements) of a patch's elements from its first. */
  readonly taps: number;
  /** Output pixels in a row. */
  readonly width: number;
  /** Image bytes from one output row to the next. */
  readonly rowBytes: number;
  readonly stride: number;
}

const PARAMS = [I64, I64, I64, I64, I64, I64, I64, I64, I64] as const;

/** Parameters of both packing functions, after the image's address. */
interface PatchParams extends PatchLayout {
  readonly image: number;
  readonly dst: number;
  /** Elements of the patch (or pixels, sideways) to pack, from `taps` (or `pixel`) on. */
  readonly steps: number;
  readonly pixel: number;
  readonly lines: number;
}

function patchParams(): { f: Func; params: PatchParams } {
  const [image, taps, width, rowBytes, stride, dst, steps, pixel, lines] = PARAMS.map((_, i) => i);
  return {
    f: new Func("", PARAMS),
    params: {
      image: image!,
      taps: taps!,
      width: width!,
      rowBytes: rowBytes!,
      stride: stride!,
      dst: dst!,
      steps: steps!,
      pixel: pixel!,
      lines: lines!,
    },
  };
}

/** Pushes the arguments of a packing function. */
export function pushPatchArgs(
  f: Func,
  image: number,
  layout: PatchLayout,
  to: { dst: number; steps: number; pixel: number; lines: number },
): Func {
  f.get(image).get(layout.taps).get(layout.width).get(layout.rowBytes).get(layout.stride);
  return f.get(to.dst).get(to.steps).get(to.pixel).get(to.lines);
}

/** Offset in bytes of output pixel `pixel` (an i64 local), in a new local. */
function pixelOffset(f: Func, { width, rowBytes, stride }: PatchLayout, pixel: number): number {
  const offset = f.local(I64);
  f.get(pixel).get(width).i64("div_u").get(rowBytes).i64("mul");
  f.get(pixel).get(width).i64("rem_u").get(stride).i64("mul").i64const(4).i64("mul");
  f.i64("add").set(offset);
  return offset;
}

/** Address of the image element that the tap at address `tap` adds to `base`. */
function tapAddress(f: Func, base: number, tap: number): number {
  const address = f.local(I64);
  f.get(base).get(tap).mem("i32.load").i64("extend_i32_u").i64const(4).i64("mul").i64("add");
  f.set(address);
  return address;
}

/** Loads four neighbouring output pixels: address -> vector; every second element for stride 2. */
function loadPixels(f: Func, stride: 1 | 2, push: () => void, offset = 0): void {
  push();
  f.vmem("load", offset);
  if (stride === 2) {
    push();
    f.vmem("load", offset + 16).shuffle32([0, 2, 4, 6]);
  }
}

/** i32 condition: whether groups of four pixels from a multiple of four on never leave a row. */
const wholeGroups = (f: Func, { width }: PatchLayout) =>
  f.get(width).i64const(3).i64("and").i64("eqz");

/**
 * A function that packs panels whose lines are pixels `pixel` to `pixel + lines - 1` (`pixel` a
 * multiple of 4) and whose steps are elements of the patch.
 */
export function packPatches(module: Module, tile: Tile): Func {
  const { f, params } = patchParams();
  const { image, taps, width, stride, dst, steps, pixel, lines } = params;
  const groups = tile.cols / 4;
  const step = f.local(I64), tap = f.local(I64), left = f.local(I64), last = f.local(I64);
  const overSteps = (body: (address: number) => void) => {
    f.get(taps).set(tap).i64const(0).set(step);
    f.for64(step, steps, 1, () => {
      body(tapAddress(f, image, tap));
      f.advance(dst, tile.cols * 4).advance(tap, 4);
    });
  };
  const offsetsOf = (count: number, apart: number) =>
    Array.from({ length: count }, (_, i) => {
      const at = min64(f, (f) => f.get(pixel).i64const(i * apart).i64("add"), last);
      return pixelOffset(f, params, at);
    });
  const grouped = (by: 1 | 2) => {
    const offsets = offsetsOf(groups, 4);
    overSteps((address) => {
      const values = offsets.map((offset) => {
        const value = f.local(V128), at = f.local(I64);
        f.get(address).get(offset).i64("add").set(at);
        loadPixels(f, by, () => f.get(at));
        f.set(value);
        return value;
      });
      values.forEach((v, i) => f.get(dst).get(v).vmem("store", i * 16));
    });
  };
  const inOneRow = (panels: number) => {
    f.get(pixel).get(width).i64("rem_u").i64const(panels * tile.cols).i64("add");
    f.get(width).i64("le_s").get(stride).i64const(1).i64("eq").i32("and");
  };
  /** Panels of neighbouring pixels; several at a time read longer pieces of each page. */
  const neighbours = (panels: number) => {
    const offset = pixelOffset(f, params, pixel);
    const tos = f.locals(I64, panels);
    tos.forEach((to, p) => {
      f.get(dst).get(steps).i64const(p * tile.cols * 4).i64("mul").i64("add").set(to);
    });
    overSteps((address) => {
      const at = f.local(I64);
      f.get(address).get(offset).i64("add").set(at);
      tos.forEach((to, p) => {
        for (let i = 0; i < groups; i++) {
          f.get(to).get(at).vmem("load", (p * groups + i) * 16).vmem("store", i * 16);
        }
        f.advance(to, tile.cols * 4);
      });
    });
    // `overSteps` has moved `dst` past the first panel.
    f.get(dst).get(steps).i64const((panels - 1) * tile.cols * 4).i64("mul").i64("add").set(dst);
  };
  const onePanel = () => {
    min64Into(f, lines, tile.cols, left);
    f.get(pixel).get(left).i64("add").i64const(1).i64("sub").set(last);
    inOneRow(1);
    f.if(() => neighbours(1), () => {
      wholeGroups(f, params).get(stride).i64const(2).i64("le_s").i32("and").if(() => {
        f.get(stride).i64const(1).i64("eq").if(() => grouped(1), () => grouped(2));
      }, () => {
        const offsets = offsetsOf(tile.cols, 1);
        overSteps((address) =>
          offsets.forEach((offset, i) =>
            f.get(dst).get(address).get(offset).i64("add").mem("f32.load").mem("f32.store", i * 4)
          )
        );
      });
    });
  };
  f.doWhile(() => {
    const four = 4 * tile.cols;
    f.get(lines).i64const(four).i64("ge_s");
    inOneRow(4);
    f.i32("and").if(() => {
      neighbours(4);
      f.advance(pixel, four).advance(lines, -four);
    }, () => {
      onePanel();
      f.advance(pixel, tile.cols).advance(lines, -tile.cols);
    });
  }, () => f.get(lines).i64const(0).i64("gt_s"));
  return module.add(f);
}

function min64Into(f: Func, x: number, most: number, into: number): void {
  f.get(x).i64const(most).get(x).i64const(most).i64("lt_s").select().set(into);
}

/**
 * A function that packs panels whose lines are elements of the patch, `lines` of them from `taps`
 * on, and whose steps are pixels from `pixel` (a multiple of 4) on.
 */
export function packPatchesSideways(module: Module, tile: Tile): Func {
  const { f, params } = patchParams();
  const { image, taps, width, rowBytes, stride, dst, steps, pixel, lines } = params;
  const start = f.local(I64), column = f.local(I64), wrap = f.local(I64), lastTap = f.local(I64);
  const step = f.local(I64), to = f.local(I64), x = f.local(I64), at = f.local(I64);
  f.push(pixelOffset(f, params, pixel)).set(start);
  f.get(pixel).get(width).i64("rem_u").set(column);
  // From the end of a row of pixels to the start of the next.
  f.get(rowBytes).get(width).get(stride).i64("mul").i64const(4).i64("mul").i64("sub").set(wrap);
  f.get(taps).get(lines).i64const(1).i64("sub").i64const(4).i64("mul").i64("add").set(lastTap);

  /** Walks over the pixels, `count` at a time. */
  const overPixels = (count: number, body: () => void) => {
    f.get(start).set(at).get(column).set(x).i64const(0).set(step);
    f.for64(step, steps, count, () => {
      body();
      f.get(at).get(stride).i64const(4 * count).i64("mul").i64("add").set(at);
      f.get(x).i64const(count).i64("add").tee(x).get(width).i64("ge_s").if(() => {
        f.i64const(0).set(x).get(at).get(wrap).i64("add").set(at);
      });
      f.advance(to, count * tile.cols * 4);
    });
  };
  const linesOf = (count: number) =>
    Array.from({ length: count }, (_, i) => {
      const tap = min64(f, (f) => f.get(taps).i64const(i * 4).i64("add"), lastTap);
      return tapAddress(f, image, tap);
    });
  const quads = (by: 1 | 2) => {
    const four = linesOf(4);
    overPixels(4, () => {
      const values = four.map((line) => {
        const value = f.local(V128), address = f.local(I64);
        f.get(line).get(at).i64("add").set(address);
        loadPixels(f, by, () => f.get(address));
        f.set(value);
        return value;
      });
      transpose4(f, values).forEach((v, i) => f.get(to).get(v).vmem("store", i * tile.cols * 4));
    });
  };
  const group = f.local(I64), panel = f.local(I64);
  f.get(dst).set(panel);
  f.doWhile(() => {
    f.i64const(0).set(group);
    f.for64(group, (f) => f.i64const(tile.cols), 4, () => {
      f.get(panel).get(group).i64const(4).i64("mul").i64("add").set(to);
      wholeGroups(f, params).get(stride).i64const(2).i64("le_s").i32("and").if(() => {
        f.get(stride).i64const(1).i64("eq").if(() => quads(1), () => quads(2));
      }, () => {
        const four = linesOf(4);
        overPixels(
          1,
          () =>
            four.forEach((line, i) =>
              f.get(to).get(line).get(at).i64("add").mem("f32.load").mem("f32.store", i * 4)
            ),
        );
      });
      f.advance(taps, 16).advance(lines, -4);
    });
    f.get(panel).get(steps).i64const(tile.cols * 4).i64("mul").i64("add").set(panel);
  }, () => f.get(lines).i64const(0).i64("gt_s"));
  return module.add(f);
}
