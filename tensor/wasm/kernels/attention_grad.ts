/**
 * Gradients of attention, with the scores recomputed and the softmax from its statistics (Dao et
 * al., arXiv:2205.14135, algorithm 4). For one head, with p = exp((q kᵀ - largest) scale - logSum):
 *
 *     dv = pᵀ g      dp = g vᵀ      ds = p (dp - rowsum(g out)) scale      dq = ds k      dk = dsᵀ q
 *
 * Like the forward, it keeps everything that runs over queries in panels of queries side by side.
 * A block of keys meets all blocks of queries in turn: dk and dv collect in scratch memory, dq in
 * its place, in the order of the blocks of keys.
 */
import type { KernelArgs } from "../../kernels.ts";
import { claimChunks, kernel, scratchI64 } from "../emit/abi.ts";
import {
  evenBlock,
  headParts,
  loadVectors,
  panelProduct,
  QUERY_BLOCK,
  rowsProduct,
  storeVectors,
  writeRows,
} from "./attention_tiles.ts";
import { F32, Func, I32, I64, Module, V128 } from "../emit/assembler.ts";
import { callTile, type Tile, tileKernels, TILES } from "./gemm_kernel.ts";
import { packPanels, transpose4 } from "./pack.ts";
import { min64, vectorContext } from "../emit/rows.ts";
import type { WasmRuntime } from "../device/runtime.ts";
import { Slots } from "../emit/slots.ts";
import type { Tier } from "../device/tier.ts";
import { exp2 } from "../emit/vector_math.ts";

/** Keys that are taken at a time at most. */
const KEY_BLOCK = 512;

const OPERANDS = ["q", "k", "v", "out", "g", "dq", "dk", "dv"] as const;
type Operand = typeof OPERANDS[number];
const SCRATCH = [
  "columnsK",
  "panelsQ",
  "panelsG",
  "columnsQ",
  "columnsG",
  "scores",
  "scoreGrads",
  "sumsQ",
  "sumsK",
  "sumsV",
  "lanes",
] as const;
type Scratch = typeof SCRATCH[number];

// deno-fmt-ignore
const SLOTS = new Slots([
  "tasks", "parts", "partQueries", "partKeys", "heads", "queries", "keys", "depth", "depthWide",
  "keyBlock", "scale", "wantQ", "wantKV", "stats",
  ...SCRATCH,
], OPERANDS);

/** Rows of one f32 a lane that each panel keeps: largest, -logSum log2(e) and rowsum(g out). */
const LANE_ROWS = 3;

/**
 * `(scores, grads, keys, lanes, scale)`: p in place of the scores of one panel, ds / scale in
 * place of dp.
 */
function gradPanel(module: Module, tile: Tile): Func {
  const f = new Func("", [I64, I64, I64, I64, F32]);
  const c = vectorContext(f);
  const [scores, grads, keys, lanes, scaleParam] = [0, 1, 2, 3, 4] as const;
  const vectors = tile.cols / 4, width = tile.cols * 4;
  const key = f.local(I64), scale = f.local(V128);
  f.get(scaleParam).get(c.constants.f32(Math.LOG2E)).f32x4extract(0).f32("mul");
  f.f32x4("splat").set(scale);
  const plainScale = f.local(V128);
  f.get(scaleParam).f32x4("splat").set(plainScale);
  const most = loadVectors(f, lanes, vectors), logs = loadVectors(f, lanes, vectors, width);
  const dots = loadVectors(f, lanes, vectors, 2 * width);
  f.for64(key, keys, 1, () => {
    const p = loadVectors(f, scores, vectors);
    p.forEach((v, i) => {
      f.get(v).get(most[i]!).f32x4("sub").get(scale).get(logs[i]!).f32x4("relaxed_madd").set(v);
      exp2(c, v);
      f.set(v);
    });
    storeVectors(f, scores, p);
    const ds = loadVectors(f, grads, vectors);
    ds.forEach((v, i) => {
      f.get(v).get(dots[i]!).f32x4("sub").get(p[i]!).f32x4("mul").get(plainScale).f32x4("mul");
      f.set(v);
    });
    storeVectors(f, grads, ds);
    f.advance(scores, width).advance(grads, width);
    c.temporaries.releaseAll();
  });
  return module.add(f);
}

/**
 * `(stats, g, out, outRowBytes, depth, count, lanes)`: fills the lane rows of one panel from the
 * panel of g and as many rows of out as there are queries.
 *
 * Each sum of g out is one chain in the order of depth, as every element of dp is. Where one key has
 * all the weight, out is its v, and the two are to cancel to the last bit: what would be left of
 * them is as large as what other keys contribute.
 */
function lanePanel(module: Module, tile: Tile): Func {
  const f = new Func("", [I64, I64, I64, I64, I64, I64, I64]);
  const c = vectorContext(f);
  const [stats, g, out, outRow, depth, count, lanes] = [0, 1, 2, 3, 4, 5, 6] as const;
  const vectors = tile.cols / 4, width = tile.cols * 4;
  const d = f.local(I64), value = f.local(V128);
  const dots = f.locals(V128, vectors), rows = f.locals(I64, tile.cols);
  // Lanes without a query take the last one's row.
  f.get(out).set(rows[0]!);
  for (let lane = 1; lane < tile.cols; lane++) {
    f.get(rows[lane - 1]!).get(outRow).i64const(0).get(count).i64const(lane).i64("gt_s").select();
    f.i64("add").set(rows[lane]!);
  }
  /** Takes `steps` steps of depth, of which `columns` gives those of four rows. */
  const take = (steps: number, columns: (rows: readonly number[]) => readonly number[]) => {
    for (let v = 0; v < vectors; v++) {
      columns(rows.slice(4 * v, 4 * v + 4)).forEach((column, i) => {
        f.get(column).get(g).vmem("load", i * width + v * 16).get(dots[v]!);
        f.f32x4("relaxed_madd").set(dots[v]!);
      });
    }
    for (const row of rows) f.advance(row, 4 * steps);
    f.advance(g, steps * width);
  };
  f.for64(d, (f) => f.get(depth).i64const(3).i64("sub"), 4, () => {
    take(4, (rows) => transpose4(f, rows.flatMap((row) => loadVectors(f, row, 1))));
  });
  f.for64(d, depth, 1, () => {
    take(1, (rows) => {
      f.get(rows[0]!).vmem("load32_zero").set(value);
      for (let lane = 1; lane < 4; lane++) {
        f.get(rows[lane]!).get(value).vlane("load32_lane", lane).set(value);
      }
      return [value];
    });
  });
  const pairs = loadVectors(f, stats, 2 * vectors);
  const logs = f.locals(V128, vectors), most = f.locals(V128, vectors);
  logs.forEach((log, i) => {
    const [a, b] = [pairs[2 * i]!, pairs[2 * i + 1]!];
    f.get(a).get(b).shuffle32([0, 2, 4, 6]).set(most[i]!);
    f.get(a).get(b).shuffle32([1, 3, 5, 7]);
    f.get(c.constants.f32(-Math.LOG2E)).f32x4("mul").set(log);
  });
  storeVectors(f, lanes, most);
  storeVectors(f, lanes, logs, width);
  storeVectors(f, lanes, dots, 2 * width);
  return module.add(f);
}

/**
 * `(rows, cols, k, a, aPanel, b, c, accumulate)`: C [rows, cols] (a multiple of the tile's
 * columns, without gaps) from transposed panels of A and packed panels of B.
 */
function sumProduct(module: Module, tile: Tile): Func {
  const kernels = tileKernels(module, tile, "transposed");
  const f = new Func("", [I64, I64, I64, I64, I64, I64, I64, I32]);
  const [rows, cols, k, a, aPanel, b, c, accumulate] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
  const row = f.local(I64), col = f.local(I64), left = f.local(I64), ldc = f.local(I64);
  const [aAt, bAt, cAt] = f.locals(I64, 3);
  f.get(cols).i64const(4).i64("mul").set(ldc);
  f.for64(col, cols, tile.cols, () => {
    f.get(b).get(col).get(k).i64("mul").i64const(4).i64("mul").i64("add").set(bAt!);
    f.i64const(0).set(row);
    f.for64(row, rows, tile.rows, () => {
      f.get(a).get(row).i64const(tile.cols * 4).i64("mul").i64("add").set(aAt!);
      f.get(c).get(row).get(ldc).i64("mul").i64("add").get(col).i64const(4).i64("mul");
      f.i64("add").set(cAt!);
      f.get(rows).get(row).i64("sub").set(left);
      callTile(f, kernels, left, {
        k,
        a: aAt!,
        b: bAt!,
        c: cAt!,
        ldc,
        accumulate,
        aStride: aPanel,
      });
    });
  });
  return module.add(f);
}

function build(tier: Tier): Module {
  const module = new Module();
  const tile = TILES[tier];
  const scoresOf = panelProduct(module, tile), rowsOf = rowsProduct(module, tile);
  const sum = sumProduct(module, tile);
  const packColumns = packPanels(module, tier, tile.cols);
  const grad = gradPanel(module, tile), fillLanes = lanePanel(module, tile);
  const write = writeRows(module);
  const width = tile.cols * 4;

  const f = kernel("attentionGrad");
  const slots = SLOTS.of(f);
  const base = scratchI64(f);
  const scratch = Object.fromEntries(SCRATCH.map((field) => {
    const address = slots.i64(field);
    f.get(base).get(address).i64("add").set(address);
    return [field, address];
  })) as Record<Scratch, number>;
  const operands = OPERANDS.map((name) => [name, slots.operand(name)] as const);
  const queries = slots.i64("queries"), keys = slots.i64("keys"), depth = slots.i64("depth");
  const depthWide = slots.i64("depthWide"), keyBlock = slots.i64("keyBlock");
  const partQueries = slots.i64("partQueries"), partKeys = slots.i64("partKeys");
  const parts = slots.i32("parts"), heads = slots.i32("heads");
  const wantQ = slots.i32("wantQ"), wantKV = slots.i32("wantKV"), stats = slots.i64("stats");
  const scale = f.local(F32);
  f.push(slots.f32x4("scale")).f32x4extract(0).set(scale);
  const depthBytes = f.local(I64), scoresPanel = f.local(I64), wideRow = f.local(I64);
  f.get(depth).i64const(width).i64("mul").set(depthBytes);
  f.get(keyBlock).i64const(width).i64("mul").set(scoresPanel);
  f.get(depthWide).i64const(4).i64("mul").set(wideRow);
  const element = (f: Func): void => void f.i64const(4);
  const plus = (base: number, count: number, bytes: number) =>
    f.get(base).get(count).get(bytes).i64("mul").i64("add");

  claimChunks(f, slots.i32("tasks"), (task) => {
    const head = f.local(I32), part = f.local(I64), outer = f.local(I64), inner = f.local(I64);
    f.get(task).get(parts).i32("div_u").set(head);
    f.get(task).get(parts).i32("rem_u").i64("extend_i32_u").set(part);
    f.get(head).get(heads).i32("div_u").i64("extend_i32_u").set(outer);
    f.get(head).get(heads).i32("rem_u").i64("extend_i32_u").set(inner);
    const at = Object.fromEntries(operands.map(([name, { base, strides }]) => {
      const start = f.local(I64);
      plus(base, outer, strides[0]).get(inner).get(strides[1]).i64("mul").i64("add").set(start);
      return [name, { start, row: strides[2] }];
    })) as Record<Operand, { start: number; row: number }>;
    const statsHead = f.local(I64);
    f.get(head).i64("extend_i32_u").get(queries).i64("mul").i64const(8).i64("mul");
    f.get(stats).i64("add").set(statsHead);
    /** The part's share of an axis: all of it where the axis is not cut up. */
    const range = (step: number, size: number) => {
      const from = f.local(I64);
      f.i64const(0).get(part).get(step).i64("mul").get(step).get(size).i64("ge_s").select().set(
        from,
      );
      return [from, min64(f, size, (f) => f.get(from).get(step).i64("add"))] as const;
    };
    const [key, keyEnd] = range(partKeys, keys);
    const [queryStart, queryEnd] = range(partQueries, queries);
    /** The address of row `index` of an operand. */
    const rowOf = (name: Operand, index: number) => plus(at[name].start, index, at[name].row);
    const rowBytes = (name: Operand) => f.get(at[name].row);

    f.for64(key, keyEnd, (f) => f.get(keyBlock), () => {
      const count = min64(f, keyBlock, (f) => f.get(keyEnd).get(key).i64("sub"));
      f.get(wantQ).if(() => {
        rowOf("k", key).get(scratch.columnsK).get(count).push(element);
        rowBytes("k").get(depth).call(packColumns);
      });
      const query = f.local(I64), collect = f.local(I32);
      f.get(queryStart).set(query).i32const(0).set(collect);
      f.for64(query, queryEnd, QUERY_BLOCK, () => {
        const lanes = min64(
          f,
          (f) => f.i64const(QUERY_BLOCK),
          (f) => f.get(queryEnd).get(query).i64("sub"),
        );
        const panels = f.local(I64), panel = f.local(I64), lanesAt = f.local(I64);
        const queryAt = f.local(I64), left = f.local(I64);
        f.get(lanes).i64const(tile.cols - 1).i64("add").i64const(tile.cols).i64("div_u");
        f.set(panels);
        const panelsOf = (name: Operand, to: number) => {
          rowOf(name, query).get(to).get(depth);
          rowBytes(name).push(element).get(lanes).call(packColumns);
        };
        panelsOf("q", scratch.panelsQ);
        panelsOf("g", scratch.panelsG);
        const overPanels = (body: () => void) => {
          f.i64const(0).set(panel).get(scratch.lanes).set(lanesAt).get(query).set(queryAt);
          f.get(lanes).set(left);
          f.for64(panel, panels, 1, () => {
            body();
            f.advance(lanesAt, LANE_ROWS * width).advance(queryAt, tile.cols);
            f.advance(left, -tile.cols);
          });
        };
        for (
          const [a, b, c] of [
            ["k", scratch.panelsQ, scratch.scores],
            ["v", scratch.panelsG, scratch.scoreGrads],
          ] as const
        ) {
          f.get(count).get(panels).get(depth);
          rowOf(a, key);
          rowBytes(a).get(b).get(depthBytes).get(c).get(scoresPanel).call(scoresOf);
        }
        overPanels(() => {
          f.get(statsHead).get(queryAt).i64const(8).i64("mul").i64("add");
          plus(scratch.panelsG, panel, depthBytes);
          rowOf("out", queryAt);
          rowBytes("out").get(depth).get(left).get(lanesAt).call(fillLanes);
          plus(scratch.scores, panel, scoresPanel);
          plus(scratch.scoreGrads, panel, scoresPanel).get(count).get(lanesAt).get(scale);
          f.call(grad);
        });
        f.get(wantKV).if(() => {
          for (
            const [name, packed, a, c] of [
              ["q", scratch.columnsQ, scratch.scoreGrads, scratch.sumsK],
              ["g", scratch.columnsG, scratch.scores, scratch.sumsV],
            ] as const
          ) {
            rowOf(name, query).get(packed).get(lanes).push(element);
            rowBytes(name).get(depth).call(packColumns);
            f.get(count).get(depthWide).get(lanes).get(a).get(scoresPanel).get(packed).get(c);
            f.get(collect).call(sum);
          }
          f.i32const(1).set(collect);
        });
        f.get(wantQ).if(() => {
          f.get(lanes).get(depthWide).get(count).get(scratch.scoreGrads).get(scoresPanel);
          f.get(scratch.columnsK).get(scratch.sumsQ).get(wideRow).i32const(0).call(rowsOf);
          f.get(scratch.sumsQ).get(wideRow);
          rowOf("dq", query);
          rowBytes("dq").get(lanes).get(depth).i64const(0).get(key).i64const(0).i64("ne").call(
            write,
          );
        });
      });
      f.get(wantKV).if(() => {
        for (const [name, sums] of [["dk", scratch.sumsK], ["dv", scratch.sumsV]] as const) {
          f.get(sums).get(wideRow);
          rowOf(name, key);
          rowBytes(name).get(count).get(depth).i64const(0).i32const(0).call(write);
        }
      });
    });
  });
  module.add(f);
  return module;
}

/** `attentionGrad` of the kernel contract. */
export function attentionGrad(runtime: WasmRuntime, args: KernelArgs["attentionGrad"]): void {
  const { q, k, stats, scale } = args;
  const { tier } = runtime;
  const [batch, heads, queries, depth] = q.shape as [number, number, number, number];
  const keys = k.shape[2]!;
  const tile = TILES[tier];
  const keyBlock = evenBlock(keys, KEY_BLOCK);
  const threads = runtime.threadsFor(batch * heads * queries * keys * depth, 1 << 16);

  let scratchBytes = 0;
  const reserve = (elements: number) => {
    const offset = scratchBytes;
    scratchBytes += Math.ceil(elements / 64) * 256;
    return offset;
  };
  const ceilTo = (x: number, step: number) => Math.ceil(x / step) * step;
  const depthWide = ceilTo(depth, tile.cols);
  const scratch = {
    columnsK: reserve(depthWide * keyBlock),
    panelsQ: reserve(QUERY_BLOCK * depth),
    panelsG: reserve(QUERY_BLOCK * depth),
    columnsQ: reserve(QUERY_BLOCK * depthWide),
    columnsG: reserve(QUERY_BLOCK * depthWide),
    scores: reserve(QUERY_BLOCK * keyBlock),
    scoreGrads: reserve(QUERY_BLOCK * keyBlock),
    sumsQ: reserve(QUERY_BLOCK * depthWide),
    sumsK: reserve(keyBlock * depthWide),
    sumsV: reserve(keyBlock * depthWide),
    lanes: reserve(QUERY_BLOCK * LANE_ROWS),
  };
  const kernelId = runtime.load("attentionGrad", build)("attentionGrad");
  const statsAddress = runtime.address(stats);
  const launch = (partQueries: number, partKeys: number, wantQ: boolean, wantKV: boolean) => {
    const parts = Math.max(Math.ceil(queries / partQueries), Math.ceil(keys / partKeys));
    const slots = SLOTS.fillWith(runtime, {
      tasks: batch * heads * parts,
      parts,
      partQueries,
      partKeys,
      heads,
      queries,
      keys,
      depth,
      depthWide,
      keyBlock,
      scale,
      wantQ: Number(wantQ),
      wantKV: Number(wantKV),
      stats: statsAddress,
      columnsK: scratch.columnsK,
      panelsQ: scratch.panelsQ,
      panelsG: scratch.panelsG,
      columnsQ: scratch.columnsQ,
      columnsG: scratch.columnsG,
      scores: scratch.scores,
      scoreGrads: scratch.scoreGrads,
      sumsQ: scratch.sumsQ,
      sumsK: scratch.sumsK,
      sumsV: scratch.sumsV,
      lanes: scratch.lanes,
    }, args);
    runtime.launch(kernelId, slots, { scratchBytes, threads });
  };
  if (batch * heads >= threads) {
    launch(queries, keys, true, true);
  } else {
    // Fewer heads than threads: each head is cut up, once by keys and once by queries.
    const parts = headParts(batch * heads, threads);
    launch(queries, ceilTo(Math.ceil(keys / parts), tile.rows), false, true);
    launch(ceilTo(Math.ceil(queries / parts), QUERY_BLOCK), keys, true, false);
  }
}
