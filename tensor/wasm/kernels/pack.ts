/**
 * Packing: copies a part of a matrix into panels, so that the innermost product reads memory in
 * order. A panel holds `width` lines (rows of A, columns of B) of `k` elements each; element k of
 * line j lies at `k * width + j`, in f32 whatever the source.
 */
import { type AccessContext, loadRepeated, loadUnit } from "../emit/access.ts";
import { Func, I64, type Module, V128 } from "../emit/assembler.ts";
import { accessContext, min64 } from "../emit/rows.ts";
import type { Tier } from "../device/tier.ts";

/** Element types a panel can be packed from. */
export type PackSource = "f32" | "f16";

const ELEMENT_BYTES = { f32: 4, f16: 2 } as const satisfies Record<PackSource, number>;

/** What a packing function is made for. */
interface Packing {
  readonly module: Module;
  readonly tier: Tier;
  readonly width: number;
  readonly source: PackSource;
}

/** Pushes the element at `pointer` as an f32. */
function load1(context: AccessContext, source: PackSource, pointer: number): void {
  const { f, temporaries } = context;
  if (source === "f32") {
    f.get(pointer).mem("f32.load");
    return;
  }
  const value = temporaries.take();
  loadRepeated(context, source, pointer, value);
  f.get(value).f32x4extract(0);
}

/** Full panels copied at a time. */
const COPIED_PANELS = 4;

/**
 * What is fetched at a time before it is packed: about as many bytes as stay in the first-level cache
 * until then, and a few rows where these are long. (Half or eight times as much is no faster.)
 */
const FETCHED_BYTES = 1 << 14, FETCHED_ROWS = 8;

/** Bytes of a cache line. */
const LINE_BYTES = 64;

/** `for (; k > 0; k -= step)`; `k` an i64 local. */
function countDown(f: Func, k: number, step: number, body: () => void): void {
  const more = () => f.get(k).i64const(step).i64("ge_s");
  more();
  f.if(() => {
    f.doWhile(() => {
      body();
      f.advance(k, -step);
    }, more);
  });
}

/** Interleaves two vectors of locals: a0 b0 a1 b1 and a2 b2 a3 b3, into new locals. */
function interleave(f: Func, a: number, b: number): [number, number] {
  const low = f.local(V128), high = f.local(V128);
  f.get(a).get(b).shuffle32([0, 4, 1, 5]).set(low);
  f.get(a).get(b).shuffle32([2, 6, 3, 7]).set(high);
  return [low, high];
}

/** Transposes four vectors of locals, the rows of a 4x4 block, into its columns, in new locals. */
export function transpose4(f: Func, rows: readonly number[]): number[] {
  const [l01, h01] = interleave(f, rows[0]!, rows[1]!);
  const [l23, h23] = interleave(f, rows[2]!, rows[3]!);
  const pairs = (a: number, b: number, lanes: [number, number, number, number]) => {
    const out = f.local(V128);
    f.get(a).get(b).shuffle32(lanes).set(out);
    return out;
  };
  return [
    pairs(l01, l23, [0, 1, 4, 5]),
    pairs(l01, l23, [2, 3, 6, 7]),
    pairs(h01, h23, [0, 1, 4, 5]),
    pairs(h01, h23, [2, 3, 6, 7]),
  ];
}

/**
 * `(src, rowBytes, rows, bytes, dst)`: reads one value of every cache line of `rows` rows of `bytes`
 * bytes (but of what is left of less than a line), row after row, so that they are in the cache when
 * they are packed. The processor fetches
 * more lines at a time where there is nothing to do but to ask for them, and guesses the next ones
 * where they are neighbours. `dst`, about to be written, takes what was read: else nothing would be.
 */
function fetchRows(module: Module): Func {
  const f = new Func("", [I64, I64, I64, I64, I64]);
  const [src, rowBytes, rows, bytes, dst] = [0, 1, 2, 3, 4] as const;
  const [at, left, sum] = f.locals(I64, 3);
  const read = (lines: number) =>
    countDown(f, left!, lines * LINE_BYTES, () => {
      for (let i = 0; i < lines; i++) {
        f.get(at!).mem("i64.load", i * LINE_BYTES).get(sum!).i64("xor").set(sum!);
      }
      f.advance(at!, lines * LINE_BYTES);
    });
  countDown(f, rows, 1, () => {
    f.get(src).set(at!).get(bytes).set(left!);
    read(4);
    read(1);
    f.get(src).get(rowBytes).i64("add").set(src);
  });
  f.get(dst).get(sum!).mem("i64.store");
  return module.add(f);
}

/**
 * `(src, dst, k, kBytes, panelBytes)`: `count` full panels, `panelBytes` apart, from lines that are
 * neighbours in memory. Several at a time read longer pieces, which matters where each k is on a page
 * of its own.
 */
function copyLines({ module, tier, width, source }: Packing, count: number): Func {
  const f = new Func("", [I64, I64, I64, I64, I64]);
  const context = accessContext(f, tier);
  const [src, dst, k, kBytes, panelBytes] = [0, 1, 2, 3, 4] as const;
  const bytes = ELEMENT_BYTES[source];
  const panels = f.locals(I64, count);
  panels.forEach((panel, i) => {
    f.get(dst).get(panelBytes).i64const(i).i64("mul").i64("add").set(panel);
  });
  countDown(f, k, 1, () => {
    panels.forEach((panel, p) => {
      const values = Array.from(
        { length: Math.ceil(width / 4) },
        (_, i) => loadUnit(context, source, src, (p * width + i * 4) * bytes),
      );
      values.forEach((v, i) => {
        f.get(panel).get(v);
        if (4 * i + 4 <= width) f.vmem("store", i * 16);
        else f.vlane("store64_lane", 0, i * 16);
      });
      f.advance(panel, width * 4);
    });
    f.get(src).get(kBytes).i64("add").set(src);
    context.temporaries.releaseAll();
  });
  return module.add(f);
}

/** `(src, dst, k, lineBytes)`: `count` lines whose k are neighbours in memory, by 4x4 transposes. */
function transposeLines({ module, tier, width, source }: Packing, count: 2 | 4): Func {
  const f = new Func("", [I64, I64, I64, I64]);
  const context = accessContext(f, tier);
  const [src, dst, k, lineBytes] = [0, 1, 2, 3] as const;
  const bytes = ELEMENT_BYTES[source];
  const lines = f.locals(I64, count);
  f.get(src).set(lines[0]!);
  for (let i = 1; i < count; i++) f.get(lines[i - 1]!).get(lineBytes).i64("add").set(lines[i]!);
  countDown(f, k, 4, () => {
    const rows = lines.map((line) => loadUnit(context, source, line, 0));
    if (count === 4) {
      transpose4(f, rows).forEach((v, i) => f.get(dst).get(v).vmem("store", i * width * 4));
    } else {
      const [low, high] = interleave(f, rows[0]!, rows[1]!);
      for (let i = 0; i < 4; i++) {
        f.get(dst).get(i < 2 ? low : high).vlane("store64_lane", i % 2, i * width * 4);
      }
    }
    lines.forEach((line) => f.advance(line, 4 * bytes));
    f.advance(dst, 4 * width * 4);
    context.temporaries.releaseAll();
  });
  countDown(f, k, 1, () => {
    lines.forEach((line, i) => {
      f.get(dst);
      load1(context, source, line);
      f.mem("f32.store", i * 4).advance(line, bytes);
    });
    f.advance(dst, width * 4);
  });
  return module.add(f);
}

/** `(src, dst, k, kBytes)`: one line, element by element. */
function stridedLine({ module, tier, width, source }: Packing): Func {
  const f = new Func("", [I64, I64, I64, I64]);
  const context = accessContext(f, tier);
  const [src, dst, k, kBytes] = [0, 1, 2, 3] as const;
  countDown(f, k, 1, () => {
    f.get(dst);
    load1(context, source, src);
    f.mem("f32.store").get(src).get(kBytes).i64("add").set(src).advance(dst, width * 4);
  });
  return module.add(f);
}

/**
 * A function `(src, dst, k, lineBytes, kBytes, lines)` that packs one panel from elements of
 * `source` with these distances in bytes, of which the lines are not neighbours. Only the first
 * `lines` lines of the panel mean anything: what the others hold lands in parts of a tile that are
 * thrown away.
 */
function packPanel(packing: Packing, fetch: Func): Func {
  const { module, width, source } = packing;
  const bytes = ELEMENT_BYTES[source];
  const transposed4 = transposeLines(packing, 4), transposed2 = transposeLines(packing, 2);
  const strided = stridedLine(packing);

  const f = new Func("", [I64, I64, I64, I64, I64, I64]);
  const [src, dst, k, lineBytes, kBytes, lines] = [0, 1, 2, 3, 4, 5] as const;
  const left = f.local(I64);
  f.get(lines).i64const(width).get(lines).i64const(width).i64("lt_s").select().set(left);
  const groups = (count: number, pack: Func, step: number) =>
    countDown(f, left, count, () => {
      f.get(src).get(dst).get(k).get(step).call(pack);
      f.get(src).get(lineBytes).i64const(count).i64("mul").i64("add").set(src);
      f.advance(dst, 4 * count);
    });
  f.get(kBytes).i64const(bytes).i64("eq").if(() => {
    f.get(src).get(lineBytes).get(left).get(k).i64const(bytes).i64("mul").get(dst).call(fetch);
    groups(4, transposed4, lineBytes);
    groups(2, transposed2, lineBytes);
  });
  groups(1, strided, kBytes);
  return module.add(f);
}

/**
 * A function `(src, dst, k, kBytes, panelBytes, lines)` that packs `k` steps of any number of lines
 * that are neighbours into panels `panelBytes` apart. (It may read past the end of a row, and by less
 * than a panel past the end of the matrix.)
 */
function copyPanels(packing: Packing): Func {
  const { module, width, source } = packing;
  const f = new Func("", [I64, I64, I64, I64, I64, I64]);
  const [src, dst, k, kBytes, panelBytes, lines] = [0, 1, 2, 3, 4, 5] as const;
  for (const [count, least] of [[COPIED_PANELS, COPIED_PANELS * width], [1, 1]] as const) {
    const copy = copyLines(packing, count);
    const more = () => f.get(lines).i64const(least).i64("ge_s");
    more();
    f.if(() =>
      f.doWhile(() => {
        f.get(src).get(dst).get(k).get(kBytes).get(panelBytes).call(copy);
        f.advance(src, count * width * ELEMENT_BYTES[source]);
        f.get(dst).get(panelBytes).i64const(count).i64("mul").i64("add").set(dst);
        f.advance(lines, -count * width);
      }, more)
    );
  }
  return module.add(f);
}

/**
 * A function `(src, dst, k, lineBytes, kBytes, lines)` that packs any number of lines into panels
 * of `width`, one after another; the last may be partly filled.
 */
export function packPanels(
  module: Module,
  tier: Tier,
  width: number,
  source: PackSource = "f32",
): Func {
  const packing = { module, tier, width, source };
  const bytes = ELEMENT_BYTES[source];
  const fetch = fetchRows(module);
  const panel = packPanel(packing, fetch), copy = copyPanels(packing);
  const f = new Func("", [I64, I64, I64, I64, I64, I64]);
  const [src, dst, k, lineBytes, kBytes, lines] = [0, 1, 2, 3, 4, 5] as const;
  const [rowBytes, panelBytes, step] = f.locals(I64, 3);
  f.get(k).i64const(width * 4).i64("mul").set(panelBytes!);
  f.get(lineBytes).i64const(bytes).i64("eq").if(() => {
    f.get(lines).i64const(bytes).i64("mul").set(rowBytes!);
    f.i64const(FETCHED_BYTES).get(rowBytes!).i64("div_u").i64const(FETCHED_ROWS).i64("add");
    f.set(step!);
    f.doWhile(() => {
      const steps = min64(f, k, step!);
      f.get(src).get(kBytes).get(steps).get(rowBytes!).get(dst).call(fetch);
      f.get(src).get(dst).get(steps).get(kBytes).get(panelBytes!).get(lines).call(copy);
      f.get(src).get(steps).get(kBytes).i64("mul").i64("add").set(src);
      f.get(dst).get(steps).i64const(width * 4).i64("mul").i64("add").set(dst);
      f.get(k).get(steps).i64("sub").set(k);
    }, () => f.get(k).i64const(0).i64("gt_s"));
    f.ret();
  });
  const more = () => f.get(lines).i64const(0).i64("gt_s");
  more();
  f.if(() =>
    f.doWhile(() => {
      f.get(src).get(dst).get(k).get(lineBytes).get(kBytes).get(lines).call(panel);
      f.get(src).get(lineBytes).i64const(width).i64("mul").i64("add").set(src);
      f.get(dst).get(panelBytes!).i64("add").set(dst);
      f.advance(lines, -width);
    }, more)
  );
  return module.add(f);
}
