import { assert, assertEquals } from "@std/assert";
import type { Backend } from "../../backend.ts";
import type { View } from "../../view.ts";
import { program } from "../../expr.ts";
import { runConformance } from "../../conformance/suite.ts";
import { conformanceCase, normal, permuted } from "../../conformance/fixture.ts";
import type { WebGpuBackend } from "../backend.ts";
import { gpuTest } from "../device/device_test_util.ts";
import { tileFits } from "../plans.ts";
import { adapter, everyWebGpu } from "../../../tests/devices.ts";
import { matmul } from "./matmul.ts";
import {
  codeOf,
  ESTIMATED_TILES,
  PLAIN_CODE,
  type Plan,
  type TileName,
  TILES,
} from "./product_plan.ts";
import type { TileCode } from "../shader/tile.ts";

Deno.test("every tile that is taken by estimate keeps within WebGPU's default limits", () => {
  const limits = { maxComputeWorkgroupStorageSize: 16384, maxComputeInvocationsPerWorkgroup: 256 };
  for (const tile of ESTIMATED_TILES) assert(tileFits(tile, limits), tile);
  const most = { ...limits, maxComputeWorkgroupStorageSize: 32768 };
  for (const tile of Object.keys(TILES) as TileName[]) assert(tileFits(tile, most), tile);
});

/** The device with one plan for all matrix products. */
function withPlan(b: WebGpuBackend, plan: Plan): Backend {
  return {
    name: b.name,
    description: b.description,
    halfKernels: b.halfKernels,
    alloc: (bytes, op) => b.alloc(bytes, op),
    free: (buffer) => b.free(buffer),
    write: (buffer, offset, data) => b.write(buffer, offset, data),
    read: (buffer, dtype, offset, length) => b.read(buffer, dtype, offset, length),
    run: (kernel, args, op) =>
      kernel === "matmul"
        ? matmul(b.runtime, args as Parameters<typeof matmul>[1], op, { plan })
        : b.run(kernel, args, op),
    checkIndices: (index, limit, op) => b.checkIndices(index, limit, op),
    ready: () => b.ready(),
    flush: () => b.flush(),
    sync: () => b.sync(),
    memory: () => b.memory(),
    dispose: () => b.dispose(),
  };
}

const SUM = program(
  "sum",
  [{ kind: "input", ty: "f32" }, { kind: "input", ty: "f32" }],
  (x, y) => x!.add(y!),
);

/** Three tiles of every kind down and across, none of them whole. */
const shape = { m: 270, n: 132, k: 84 };
const product = conformanceCase("matmul", "270x84 . 84x132 in batches", {}, (f) => ({
  a: f.input([1, 2, shape.m, shape.k], normal()),
  b: f.input([1, 2, shape.k, shape.n], normal(), "f32", permuted([1, 2, 84, 132], [0, 1, 3, 2])),
  bias: f.input([shape.n]),
  activation: "silu",
  pre: f.output("pre", [1, 2, shape.m, shape.n]),
  combine: SUM,
  operand: f.input([1, 2, shape.m, shape.n], normal()),
  sums: f.output("sums", [1, 2, shape.m]),
  out: f.output("out", [1, 2, shape.m, shape.n]),
  accumulate: false,
}));

for (const tile of Object.keys(TILES) as TileName[]) {
  // One of them needs more workgroup memory than every GPU has.
  const fits = adapter === null || tileFits(tile, adapter.limits);
  (fits ? gpuTest : Deno.test.ignore)(
    `a product by ${tile} tiles is right${fits ? "" : " (needs more workgroup memory)"}`,
    (b: unknown) =>
      runConformance(
        withPlan(b as WebGpuBackend, { tile, splits: 1, code: PLAIN_CODE }),
        product,
      ),
  );
}

gpuTest(
  "a product split in three is right, epilogue, sums and batches included",
  (b) => runConformance(withPlan(b, { tile: "medium", splits: 3, code: PLAIN_CODE }), product),
);

gpuTest("a split product of odd width adds to what is there", (b) =>
  runConformance(
    withPlan(b, { tile: "small", splits: 4, code: PLAIN_CODE }),
    conformanceCase("matmul", "17x100 . 100x33 accumulating", {}, (f) => ({
      a: f.input([1, 1, 17, 100]),
      b: f.input([1, 1, 100, 33]),
      bias: null,
      activation: "none",
      pre: null,
      out: f.changed("out", [1, 1, 17, 33], normal()),
      accumulate: true,
    })),
  ));

/** Layouts of both operands, sizes that fill no tile, and how the depth is divided. */
interface Shape {
  readonly a: "row" | "column";
  readonly b: "row" | "column";
  readonly tile: TileName;
  /** Over whole tiles. */
  readonly rest: number;
  readonly k: number;
  readonly splits: number;
}

/** Together they go every way that operands are staged. */
const SHAPES: readonly Shape[] = [
  { a: "row", b: "column", tile: "large", rest: 4, k: 64, splits: 1 },
  { a: "column", b: "row", tile: "square", rest: 4, k: 52, splits: 1 },
  { a: "row", b: "row", tile: "medium", rest: 3, k: 81, splits: 3 },
  { a: "column", b: "column", tile: "small", rest: 5, k: 33, splits: 1 },
];

/** Every way to write them, and what is usual on a GPU. */
const CODES: readonly TileCode[] = [
  { masked: true, unrolled: false, prefetch: false },
  { masked: false, unrolled: true, prefetch: false },
  { masked: false, unrolled: false, prefetch: true },
  { masked: true, unrolled: true, prefetch: true },
];

/** The bits of a product whose result held NaN before. */
async function bitsOf(backend: WebGpuBackend, shape: Shape, code: TileCode): Promise<Uint32Array> {
  const { tile, rest, k, splits } = shape;
  const [m, n] = [TILES[tile].rows + rest, TILES[tile].columns + rest];
  const matrix = (rows: number, columns: number, order: "row" | "column", seed: number): View => {
    let state = seed;
    const data = Float32Array.from({ length: rows * columns }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      return (state >>> 8) / 2 ** 23 - 1;
    });
    const buffer = backend.alloc(data.byteLength, "test");
    backend.write(buffer, 0, data);
    const strides = order === "row" ? [0, 0, columns, 1] : [0, 0, 1, rows];
    return { buffer, dtype: "f32", offset: 0, shape: [1, 1, rows, columns], strides };
  };
  const [a, b, out] = [matrix(m, k, shape.a, 1), matrix(k, n, shape.b, 2), matrix(m, n, "row", 3)];
  backend.write(out.buffer, 0, new Float32Array(m * n).fill(NaN));
  const others = { bias: null, activation: "none", pre: null, accumulate: false } as const;
  matmul(backend.runtime, { ...others, a, b, out }, "test", { plan: { tile, splits, code } });
  const values = await backend.read(out.buffer, "f32", 0, m * n) as Float32Array;
  for (const { buffer } of [a, b, out]) backend.free(buffer);
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

const shapes = everyWebGpu
  ? (Object.keys(TILES) as TileName[]).filter((tile) =>
    adapter === null || tileFits(tile, adapter.limits)
  ).flatMap((tile) => SHAPES.map((s) => ({ ...s, tile })))
  : SHAPES;

gpuTest("a product has the same bits however its kernel is written", async (backend) => {
  for (const shape of shapes) {
    const usual = codeOf(shape.tile, { writtenOut: true, readsAhead: true });
    const want = await bitsOf(backend, shape, PLAIN_CODE);
    assert(want.every((bits) => (bits & 0x7fffffff) <= 0x7f800000), "what was there is left");
    for (const code of everyWebGpu ? CODES : [usual]) {
      // Twice: threads that do not wait for each other need not meet every time.
      for (let i = 0; i < 2; i++) assertEquals(await bitsOf(backend, shape, code), want);
    }
  }
});

gpuTest("operands that are read through an activation are what it would store", async (b) => {
  const size = 33;
  const square = (fill: (i: number) => number): View => {
    const data = Float32Array.from({ length: size * size }, (_, i) => fill(i));
    const buffer = b.alloc(data.byteLength, "test");
    b.write(buffer, 0, data);
    return { buffer, dtype: "f32", offset: 0, shape: [1, 1, size, size], strides: [0, 0, size, 1] };
  };
  const turned = (view: View): View => ({ ...view, strides: [0, 0, 1, size] });
  const x = square((i) => Math.sin(i * 1.7) * 5);
  const other = square((i) => Math.cos(i * 2.3));
  const identity = square((i) => i % (size + 1) === 0 ? 1 : 0);
  const others = { bias: null, activation: "none", pre: null, accumulate: false } as const;
  const bits = async (args: object, code: TileCode): Promise<Uint32Array> => {
    const out = square(() => NaN);
    const plan = { tile: "small", splits: 1, code } as const;
    matmul(b.runtime, { ...others, a: x, b: other, out, ...args }, "test", { plan });
    return new Uint32Array(
      (await b.read(out.buffer, "f32", 0, size * size) as Float32Array).buffer,
    );
  };
  const stored = square(() => NaN);
  const activation = "geluTanh";
  const plan = { tile: "small", splits: 1, code: PLAIN_CODE } as const;
  matmul(b.runtime, { ...others, a: x, b: identity, activation, out: stored }, "test", { plan });
  for (const code of [PLAIN_CODE, { ...PLAIN_CODE, prefetch: true }]) {
    // read along its rows, and across them
    const left = await bits({ activationA: activation }, code);
    assertEquals(left, await bits({ a: stored }, code));
    const right = await bits({ a: turned(other), b: x, activationB: activation }, code);
    assertEquals(right, await bits({ a: turned(other), b: stored }, code));
  }
});
