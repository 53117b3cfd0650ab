/** Products and attention that go every way of the kernels for matrix units, none of whole tiles. */
import { attentionPair } from "../../conformance/cases_attention.ts";
import {
  conformanceCase,
  type Fill,
  normal,
  permuted,
  repeated,
} from "../../conformance/fixture.ts";
import type { ConformanceCase } from "../../conformance/suite.ts";
import { program } from "../../expr.ts";

const SUM = program(
  "sum",
  [{ kind: "input", ty: "f32" }, { kind: "input", ty: "f32" }],
  (x, y) => x!.add(y!),
);

/** Of one f16: half a unit in its last place. */
const HALF = { tolerance: { scaled: 2e-3 } } as const;

/** Products that a GPU with matrix units computes on them, whose tiles are 128 x 128 x 32 at most. */
export const MATRIX_CASES: readonly ConformanceCase[] = [
  conformanceCase("matmul", "x wT in batches, with all that may follow", HALF, (f) => ({
    a: f.input([1, 2, 150, 56], normal(), "f16"),
    b: f.input([1, 2, 56, 180], normal(), "f16", permuted([1, 2, 56, 180], [0, 1, 3, 2])),
    bias: f.input([180]),
    activation: "silu",
    pre: f.output("pre", [1, 2, 150, 180], "f16"),
    combine: SUM,
    operand: f.input([1, 2, 150, 180], normal(), "f16"),
    sums: f.output("sums", [1, 2, 150]),
    out: f.output("out", [1, 2, 150, 180], "f16"),
    accumulate: false,
  })),
  conformanceCase("matmul", "g w of one w for all batches, of odd height", HALF, (f) => ({
    a: f.input([2, 1, 85, 72], normal(), "f16"),
    b: f.input([2, 1, 72, 88], normal(), "f16", repeated([2, 1, 72, 88], [0])),
    bias: null,
    activation: "none",
    pre: null,
    out: f.output("out", [2, 1, 85, 88], "f16"),
    accumulate: false,
  })),
  conformanceCase("matmul", "gT x so deep that it is split", {}, (f) => ({
    a: f.input([1, 1, 72, 16376], normal(), "f16", permuted([1, 1, 72, 16376], [0, 1, 3, 2])),
    b: f.input([1, 1, 16376, 72], normal(), "f16"),
    bias: null,
    activation: "none",
    pre: null,
    sums: f.output("sums", [1, 1, 72]),
    out: f.output("out", [1, 1, 72, 72]),
    accumulate: false,
  })),
];

/** Rows of f16 that begin with small numbers and end with large ones, sixteen rows of `depth` alike. */
const rising = (depth: number): Fill => (random, index) =>
  normal(0.5 + 2 * Math.floor(index / depth / 16))(random, index);

/** Attention and its gradients that a GPU with matrix units computes on them. */
export const MATRIX_ATTENTION_CASES: readonly ConformanceCase[] = [
  ...attentionPair("heads of whole matrices", {
    batch: 2,
    heads: 2,
    queries: 35,
    depth: 16,
    layout: "fused qkv",
    dtype: "f16",
  }),
  ...attentionPair("more keys than queries", {
    batch: 1,
    heads: 1,
    queries: 19,
    keys: 70,
    depth: 24,
    layout: "tokens first",
    dtype: "f16",
  }),
  // Its gradients are given statistics of numbers that are not rounded, which differ too much here.
  ...attentionPair("scores that rise", {
    batch: 1,
    heads: 2,
    queries: 19,
    keys: 70,
    depth: 24,
    fillKeys: rising(24),
    dtype: "f16",
  }).filter(({ kernel }) => kernel === "attention"),
  ...attentionPair("more queries than keys", {
    batch: 1,
    heads: 2,
    queries: 40,
    keys: 5,
    depth: 40,
    layout: "fused qkv",
    dtype: "f16",
  }),
];

/** The heads of the paper's models, whose kernels a program that acts as a GPU compiles for minutes. */
export const LARGE_HEADS: readonly ConformanceCase[] = [64, 72].flatMap((depth) =>
  attentionPair("heads of DiT", {
    batch: 1,
    heads: 2,
    queries: 150,
    depth,
    layout: "fused qkv",
    dtype: "f16",
  })
);
