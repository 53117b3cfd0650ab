/**
 * softmax(q kᵀ scale) v, block by block: no score leaves the cache.
 *
 * Scores are kept transposed, a panel of queries side by side for every key. So each lane of a
 * vector is one query, the softmax has no sums across lanes, and the second product, p v, reads p
 * where it lies, as columns. Keys that outgrow the cache are taken in
 * blocks with a running maximum and sum (Milakov & Gimelshein, arXiv:1805.02867; Dao et al.,
 * arXiv:2205.14135).
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
import { type Tile, TILES } from "./gemm_kernel.ts";
import { packPanels } from "./pack.ts";
import { min64, vectorContext } from "../emit/rows.ts";
import type { WasmRuntime } from "../device/runtime.ts";
import { Slots } from "../emit/slots.ts";
import type { Tier } from "../device/tier.ts";
import { exp2, log2 } from "../emit/vector_math.ts";

/** Keys that are taken in one go; more are taken in blocks of at most `KEY_BLOCK`. */
const WHOLE_KEYS = 1024, KEY_BLOCK = 512;

/**
 * What is kept for each query of a panel, as rows of one f32 a lane: the running maximum (not
 * scaled), the sum of exponentials, and the factor of the last rescaling; in the end the last two
 * rows take the statistics.
 */
const STATE_ROWS = 4;

/** Takes the place of a largest score of -infinity, from which no score can be subtracted. */
const LOWEST = -3.4028234663852886e38;

// deno-fmt-ignore
const SLOTS = new Slots([
  "tasks", "parts", "partQueries", "heads", "queries", "keys", "depth", "depthWide", "keyBlock", "scale",
  "stats", "packedV", "packedVBlock", "packedQ", "scores", "sums", "state",
], ["q", "k", "v", "out"]);

/**
 * `(panel, keys, state, scale, first)`: replaces scores [keys, cols] by exponentials relative to
 * the largest so far, and brings the state up to date. Scores are subtracted before they are
 * scaled: the difference is exact, so that the largest has the exponent 0 whatever its size.
 */
function softmaxPanel(module: Module, tile: Tile): Func {
  const f = new Func("", [I64, I64, I64, F32, I32]);
  const c = vectorContext(f);
  const [panel, keys, state, scaleParam, first] = [0, 1, 2, 3, 4] as const;
  const vectors = tile.cols / 4, width = tile.cols * 4;
  const scale = f.local(V128), key = f.local(I64), at = f.local(I64);
  f.get(scaleParam).f32x4("splat").set(scale);
  const most = f.locals(V128, vectors), sums = f.locals(V128, vectors);
  const factors = f.locals(V128, vectors);
  const overKeys = (body: () => void) => {
    f.get(panel).set(at).i64const(0).set(key);
    f.for64(key, keys, 1, () => {
      body();
      f.advance(at, width);
      c.temporaries.releaseAll();
    });
  };
  const old = f.locals(V128, vectors);
  f.get(first).if(() => {
    old.forEach((v) => f.f32x4const(-Infinity).set(v));
  }, () => {
    loadVectors(f, state, vectors).forEach((v, i) => f.get(v).set(old[i]!));
  });
  old.forEach((v, i) => f.get(v).set(most[i]!));
  overKeys(() => {
    loadVectors(f, at, vectors).forEach((v, i) => {
      f.get(most[i]!).get(v).f32x4("pmax").set(most[i]!);
    });
  });
  most.forEach((v) => f.get(v).get(c.constants.f32(LOWEST)).f32x4("pmax").set(v));
  storeVectors(f, state, most);
  f.get(first).if(() => {}, () => {
    old.forEach((v, i) => {
      const change = f.local(V128);
      f.get(v).get(most[i]!).f32x4("sub").get(scale).f32x4("mul").set(change);
      exp2(c, change);
      f.set(factors[i]!);
      f.get(factors[i]!).get(state).vmem("load", width + i * 16).f32x4("mul").set(sums[i]!);
    });
  });
  storeVectors(f, state, factors, 2 * width);
  overKeys(() => {
    const values = loadVectors(f, at, vectors);
    values.forEach((v, i) => {
      f.get(v).get(most[i]!).f32x4("sub").get(scale).f32x4("mul").set(v);
      exp2(c, v);
      f.set(v);
    });
    values.forEach((v, i) => f.get(sums[i]!).get(v).f32x4("add").set(sums[i]!));
    storeVectors(f, at, values);
  });
  storeVectors(f, state, sums, width);
  return module.add(f);
}

/**
 * `(state, stats, lanes)`: 1 / sum in place of the sums, and pairs of the largest score and the
 * logarithm of the sum for the valid lanes.
 */
function finishState(module: Module, tile: Tile): Func {
  const f = new Func("", [I64, I64, I64]);
  const c = vectorContext(f);
  const [state, stats, lanes] = [0, 1, 2] as const;
  const vectors = tile.cols / 4, width = tile.cols * 4;
  const most = loadVectors(f, state, vectors), sums = loadVectors(f, state, vectors, width);
  const logs = sums.flatMap((sum, i) => {
    const log = f.local(V128);
    log2(c, sum);
    f.get(c.constants.f32(Math.LN2)).f32x4("mul").set(log);
    return [[0, 4, 1, 5], [2, 6, 3, 7]].map((lanes) => {
      const pairs = f.local(V128);
      f.get(most[i]!).get(log).shuffle32(lanes as [number, number, number, number]).set(pairs);
      return pairs;
    });
  });
  sums.forEach((v) => f.get(c.constants.f32(1)).get(v).f32x4("div").set(v));
  storeVectors(f, state, sums, width);
  storeVectors(f, state, logs, 2 * width);
  f.get(stats).get(state).i64const(2 * width).i64("add");
  f.get(min64(f, lanes, (f) => f.i64const(tile.cols))).i64const(3).i64("shl").memoryCopy();
  return module.add(f);
}

function build(tier: Tier): Module {
  const module = new Module();
  const tile = TILES[tier];
  const products = {
    scores: panelProduct(module, tile),
    sums: rowsProduct(module, tile),
  };
  const packColumns = packPanels(module, tier, tile.cols);
  const softmax = softmaxPanel(module, tile);
  const finish = finishState(module, tile), write = writeRows(module);
  const width = tile.cols * 4;

  const f = kernel("attention");
  const slots = SLOTS.of(f);
  const scratch = scratchI64(f);
  const inScratch = (field: "packedV" | "packedQ" | "scores" | "sums" | "state") => {
    const address = slots.i64(field);
    f.get(scratch).get(address).i64("add").set(address);
    return address;
  };
  const queries = slots.i64("queries"), keys = slots.i64("keys"), depth = slots.i64("depth");
  const depthWide = slots.i64("depthWide");
  const keyBlock = slots.i64("keyBlock"), partQueries = slots.i64("partQueries");
  const parts = slots.i32("parts"), heads = slots.i32("heads");
  const scale = f.local(F32);
  f.push(slots.f32x4("scale")).f32x4extract(0).set(scale);
  const q = slots.operand("q"), k = slots.operand("k"), v = slots.operand("v");
  const out = slots.operand("out");
  const [qRow, kRow, vRow, outRow] = [q, k, v, out].map((x) => x.strides[2]) as [
    number,
    number,
    number,
    number,
  ];
  const stats = slots.i64("stats");
  const packedV = inScratch("packedV"), packedVBlock = slots.i64("packedVBlock");
  const packedQ = inScratch("packedQ"), scores = inScratch("scores");
  const sums = inScratch("sums"), state = inScratch("state");
  const depthBytes = f.local(I64), scoresPanel = f.local(I64), wideRow = f.local(I64);
  f.get(depth).i64const(width).i64("mul").set(depthBytes);
  f.get(depthWide).i64const(4).i64("mul").set(wideRow);
  f.get(keyBlock).i64const(width).i64("mul").set(scoresPanel);
  const element: (f: Func) => void = (f) => f.i64const(4);
  const overBlocks = (body: (start: number, count: number, index: number) => void) => {
    const start = f.local(I64), index = f.local(I64);
    f.i64const(0).set(start).i64const(0).set(index);
    f.for64(start, keys, (f) => f.get(keyBlock), () => {
      body(start, min64(f, keyBlock, (f) => f.get(keys).get(start).i64("sub")), index);
      f.advance(index, 1);
    });
  };
  const plus = (base: number, count: number, bytes: number) =>
    f.get(base).get(count).get(bytes).i64("mul").i64("add");

  claimChunks(f, slots.i32("tasks"), (task) => {
    const head = f.local(I32), outer = f.local(I64), inner = f.local(I64);
    const from = f.local(I64), at = f.local(I64);
    f.get(task).get(parts).i32("div_u").set(head);
    f.get(head).get(heads).i32("div_u").i64("extend_i32_u").set(outer);
    f.get(head).get(heads).i32("rem_u").i64("extend_i32_u").set(inner);
    f.get(task).get(parts).i32("rem_u").i64("extend_i32_u").get(partQueries).i64("mul").set(from);
    const until = min64(f, queries, (f) => f.get(from).get(partQueries).i64("add"));
    const start = (x: typeof q) => {
      const address = f.local(I64);
      plus(x.base, outer, x.strides[0]).get(inner).get(x.strides[1]).i64("mul").i64("add");
      f.set(address);
      return address;
    };
    const qHead = start(q), kHead = start(k), vHead = start(v), outHead = start(out);
    const statsHead = f.local(I64);
    f.get(head).i64("extend_i32_u").get(queries).i64("mul").i64const(8).i64("mul");
    f.get(stats).i64("add").set(statsHead);

    overBlocks((key, count, block) => {
      plus(vHead, key, vRow);
      plus(packedV, block, packedVBlock);
      f.get(count).push(element).get(vRow).get(depth).call(packColumns);
    });
    f.get(from).set(at);
    f.for64(at, until, QUERY_BLOCK, () => {
      const lanes = min64(
        f,
        (f) => f.i64const(QUERY_BLOCK),
        (f) => f.get(until).get(at).i64("sub"),
      );
      const panels = f.local(I64), panel = f.local(I64), panelState = f.local(I64);
      const panelAt = f.local(I64), rows = f.local(I64), rowAt = f.local(I64);
      f.get(lanes).i64const(tile.cols - 1).i64("add").i64const(tile.cols).i64("div_u").set(panels);
      plus(qHead, at, qRow).get(packedQ).get(depth).get(qRow).push(element).get(lanes);
      f.call(packColumns);
      const overPanels = (body: () => void) => {
        f.i64const(0).set(panel).get(state).set(panelState).get(at).set(panelAt).get(sums).set(
          rowAt,
        );
        f.for64(panel, panels, 1, () => {
          f.get(until).get(panelAt).i64("sub").set(rows);
          f.get(min64(f, rows, (f) => f.i64const(tile.cols))).set(rows);
          body();
          f.advance(panelState, STATE_ROWS * width).advance(panelAt, tile.cols);
          f.get(rowAt).get(wideRow).i64const(tile.cols).i64("mul").i64("add").set(rowAt);
        });
      };
      overBlocks((key, count, block) => {
        const first = f.local(I32);
        f.get(block).i64("eqz").set(first);
        f.get(count).get(panels).get(depth);
        plus(kHead, key, kRow).get(kRow).get(packedQ).get(depthBytes);
        f.get(scores).get(scoresPanel).call(products.scores);
        overPanels(() => {
          plus(scores, panel, scoresPanel).get(count).get(panelState).get(scale).get(first);
          f.call(softmax);
          f.get(first).if(() => {}, () => {
            f.get(rowAt).get(wideRow).get(rowAt).get(wideRow).get(rows).get(depth);
            f.get(panelState).i64const(2 * width).i64("add").i32const(0).call(write);
          });
        });
        f.get(lanes).get(depthWide).get(count).get(scores).get(scoresPanel);
        plus(packedV, block, packedVBlock);
        f.get(sums).get(wideRow).get(first).i32("eqz").call(products.sums);
      });
      overPanels(() => {
        f.get(panelState).get(statsHead).get(panelAt).i64const(3).i64("shl").i64("add").get(rows);
        f.call(finish);
        f.get(rowAt).get(wideRow);
        plus(outHead, panelAt, outRow).get(outRow).get(rows).get(depth);
        f.get(panelState).i64const(width).i64("add").i32const(0).call(write);
      });
    });
  });
  module.add(f);
  return module;
}

/** `attention` of the kernel contract. */
export function attention(runtime: WasmRuntime, args: KernelArgs["attention"]): void {
  const { q, k, scale, stats } = args;
  const [batch, heads, queries, depth] = q.shape as [number, number, number, number];
  const keys = k.shape[2]!;
  const tile = TILES[runtime.tier];
  const keyBlock = keys <= WHOLE_KEYS ? keys : evenBlock(keys, KEY_BLOCK);
  const blocks = Math.ceil(keys / keyBlock);
  const threads = runtime.threadsFor(batch * heads * queries * keys * depth, 1 << 17);
  const queryBlocks = Math.ceil(queries / QUERY_BLOCK);
  const partBlocks = Math.ceil(queryBlocks / headParts(batch * heads, threads));
  const partQueries = partBlocks * QUERY_BLOCK, parts = Math.ceil(queryBlocks / partBlocks);

  let scratchBytes = 0;
  const reserve = (bytes: number) => {
    const offset = scratchBytes;
    scratchBytes += Math.ceil(bytes / 256) * 256;
    return offset;
  };
  const depthWide = Math.ceil(depth / tile.cols) * tile.cols;
  const packedVBlock = depthWide * keyBlock * 4;
  const slots = SLOTS.fillWith(runtime, {
    tasks: batch * heads * parts,
    parts,
    partQueries,
    heads,
    queries,
    keys,
    depth,
    depthWide,
    keyBlock,
    scale: scale * Math.LOG2E,
    stats: runtime.address(stats),
    packedV: reserve(blocks * packedVBlock),
    packedVBlock,
    packedQ: reserve(QUERY_BLOCK * depth * 4),
    scores: reserve(QUERY_BLOCK * keyBlock * 4),
    sums: reserve(QUERY_BLOCK * depthWide * 4),
    state: reserve(QUERY_BLOCK * STATE_ROWS * 4),
  }, args);
  const kernelId = runtime.load("attention", build)("attention");
  runtime.launch(kernelId, slots, { scratchBytes, threads });
}
