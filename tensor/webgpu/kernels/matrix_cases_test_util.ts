/** Products that go every way of the kernel for matrix units, none of whole tiles. */
import { conformanceCase, normal, permuted, repeated } from "../../conformance/fixture.ts";
import type { ConformanceCase } from "../../conformance/suite.ts";
import { program } from "../../expr.ts";

const SUM = program(
  "sum",
  [{ kind: "input", ty: "f32" }, { kind: "input", ty: "f32" }],
  (x, y) => x!.add(y!),
);

/** Of one f16: half a unit in its last place. */
const HALF = { tolerance: { scaled: 2e-3 } } as const;

/** Cases that a GPU with matrix units computes on them. */
export const MATRIX_CASES: readonly ConformanceCase[] = [
  conformanceCase("matmul", "x wT in batches, with all that may follow", HALF, (f) => ({
    a: f.input([1, 2, 70, 40], normal(), "f16"),
    b: f.input([1, 2, 40, 52], normal(), "f16", permuted([1, 2, 40, 52], [0, 1, 3, 2])),
    bias: f.input([52]),
    activation: "silu",
    pre: f.output("pre", [1, 2, 70, 52], "f16"),
    combine: SUM,
    operand: f.input([1, 2, 70, 52], normal(), "f16"),
    sums: f.output("sums", [1, 2, 70]),
    out: f.output("out", [1, 2, 70, 52], "f16"),
    accumulate: false,
  })),
  conformanceCase("matmul", "g w of one w for all batches, of odd height", HALF, (f) => ({
    a: f.input([2, 1, 45, 72], normal(), "f16"),
    b: f.input([2, 1, 72, 40], normal(), "f16", repeated([2, 1, 72, 40], [0])),
    bias: null,
    activation: "none",
    pre: null,
    out: f.output("out", [2, 1, 45, 40], "f16"),
    accumulate: false,
  })),
  conformanceCase("matmul", "gT x so deep that it is split", {}, (f) => ({
    a: f.input([1, 1, 40, 16376], normal(), "f16", permuted([1, 1, 40, 16376], [0, 1, 3, 2])),
    b: f.input([1, 1, 16376, 24], normal(), "f16"),
    bias: null,
    activation: "none",
    pre: null,
    sums: f.output("sums", [1, 1, 40]),
    out: f.output("out", [1, 1, 40, 24]),
    accumulate: false,
  })),
];
