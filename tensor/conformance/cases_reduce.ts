import {
  type CaseOptions,
  type ConformanceCase,
  conformanceCase,
  cycle,
  EXACT,
  type Fill,
  type MemoryLayout,
  normal,
  permuted,
  repeated,
  uniform,
  whole,
  window,
} from "./fixture.ts";
import { program } from "../expr.ts";

const f32 = { kind: "input", ty: "f32" } as const;
const number = { kind: "scalar", ty: "f32" } as const;

const itself = program("itself", [f32], (x) => x);
const square = program("square", [f32], (x) => x.mul(x));
const scaledSquaredDifference = program(
  "conformance.scaledSquaredDifference",
  [f32, f32, number],
  (a, b, scale) => {
    const difference = a.sub(b);
    return difference.mul(difference).mul(scale);
  },
);

const i32 = { kind: "input", ty: "i32" } as const;
const countEqual = program(
  "conformance.countEqual",
  [i32, i32],
  (a, b) => a.eq(b).to("f32"),
);

type Shape3 = readonly [number, number, number];

/** One array reduced by each operation. */
function reductions(
  name: string,
  shape: Shape3,
  { fill = normal(), layout, ...options }: CaseOptions & { fill?: Fill; layout?: MemoryLayout } =
    {},
): ConformanceCase[] {
  const [O, R, I] = shape;
  return (["sum", "max", "min"] as const).map((op) =>
    conformanceCase("reduce", `${op} of [${shape}], ${name}`, { cost: O * R * I, ...options }, (
      f,
    ) => ({
      op,
      program: itself,
      ins: [f.input(shape, fill, "f32", layout)],
      scalars: [],
      out: f.output("out", [O, I], "f32", undefined, op === "sum" ? undefined : EXACT),
    }))
  );
}

function positions(
  name: string,
  shape: Shape3,
  { fill = normal(), layout, ...options }: CaseOptions & { fill?: Fill; layout?: MemoryLayout } =
    {},
): ConformanceCase[] {
  const [O, R, I] = shape;
  return (["max", "min"] as const).map((op) =>
    conformanceCase("argReduce", `${op} of [${shape}], ${name}`, { cost: O * R * I, ...options }, (
      f,
    ) => ({
      op,
      x: f.input(shape, fill, "f32", layout),
      out: f.output("out", [O, I], "i32"),
    }))
  );
}

function runningSums(
  name: string,
  shape: Shape3,
  { fill = normal(), layout, ...options }: CaseOptions & { fill?: Fill; layout?: MemoryLayout } =
    {},
): ConformanceCase[] {
  return [false, true].map((reverse) =>
    conformanceCase("cumsum", `[${shape}]${reverse ? " from the end" : ""}, ${name}`, {
      cost: shape[0] * shape[1] * shape[2],
      ...options,
    }, (f) => ({
      x: f.input(shape, fill, "f32", layout),
      out: f.output("out", shape),
      reverse,
    }))
  );
}

/** Reductions, positions of extremes, and running sums. */
export function reduceCases(): ConformanceCase[] {
  return [
    ...reductions("one element", [1, 1, 1]),
    ...reductions("nothing to reduce", [5, 1, 7]),
    ...reductions("last axis", [17, 33, 1]),
    ...reductions("first axis", [1, 17, 33]),
    ...reductions("middle axis", [5, 17, 9]),
    ...reductions("middle axis, odd offsets", [3, 7, 5], { lead: 3 }),
    ...reductions("everything", [1, 20011, 1]),
    ...reductions("everything", [1, 70001, 1]),
    ...reductions("many rows", [5003, 4, 1]),
    ...reductions("rows of 384", [130, 384, 1]),
    ...reductions("columns", [1, 3000, 70]),
    ...reductions("columns", [1, 257, 384]),
    ...reductions("few long columns", [1, 20011, 3]),
    ...reductions("blocks of columns", [4, 100, 65]),
    ...reductions("wide middle", [2, 3, 5000]),
    ...reductions("transposed", [6, 17, 9], { layout: permuted([6, 17, 9], [2, 0, 1]) }),
    ...reductions("columns first in memory", [1, 40, 33], {
      layout: permuted([1, 40, 33], [0, 2, 1]),
    }),
    ...reductions("repeated", [4, 30, 5], { layout: repeated([4, 30, 5], [1]) }),
    ...reductions("a window", [4, 30, 5], { layout: window([6, 33, 8], [1, 2, 3]) }),
    ...reductions("every other", [4, 15, 5], {
      layout: window([4, 30, 10], [0, 1, 0], [1, 2, 2]),
    }),
    ...reductions("all below zero", [3, 50, 1], { fill: uniform(-9, -8) }),
    ...reductions("with infinities", [4, 9, 1], {
      fill: cycle([1, Infinity, 2, 3, 4, 5, 6, 7, 8, 1, 2, -Infinity, 4, 5, 6, 7, 8, 9]),
    }),
    // A sum one by one in float32 would be 1e-3 off here.
    ...reductions("a tenth, over and over", [1, 262144, 1], {
      fill: cycle([0.1]),
      tolerance: { scaled: 2e-6 },
    }),
    ...reductions("a tenth, over and over, in columns", [1, 100_000, 2], {
      fill: cycle([0.1]),
      tolerance: { scaled: 5e-6 },
    }),
    ...[1, 5, 8, 40].flatMap((at) =>
      (["max", "min"] as const).map((op) =>
        conformanceCase("reduce", `${op} with NaN at ${at} of 41`, { tolerance: EXACT }, (f) => ({
          op,
          program: itself,
          ins: [f.input([3, 41, 1], (random, i) => i === 41 + at ? NaN : random.normal())],
          scalars: [],
          out: f.output("out", [3, 1]),
        }))
      )
    ),
    ...(["max", "min"] as const).map((op) =>
      conformanceCase("reduce", `${op} of columns with NaN`, { tolerance: EXACT }, (f) => ({
        op,
        program: itself,
        ins: [f.input([2, 19, 11], (random, i) => i % 37 === 5 ? NaN : random.normal())],
        scalars: [],
        out: f.output("out", [2, 11]),
      }))
    ),
    ...([[17, 33, 1], [1, 33, 17], [1, 70001, 1], [3, 40, 6]] as const).flatMap((shape) => [
      conformanceCase("reduce", `sum of squares of [${shape}]`, { cost: 80_000 }, (f) => ({
        op: "sum" as const,
        program: square,
        ins: [f.input(shape)],
        scalars: [],
        out: f.output("out", [shape[0], shape[2]]),
      })),
      conformanceCase("reduce", `sum of squared differences of [${shape}]`, {
        cost: 160_000,
        lead: 3,
      }, (f) => ({
        op: "sum" as const,
        program: scaledSquaredDifference,
        ins: [f.input(shape), f.input(shape)],
        scalars: [0.25],
        out: f.output("out", [shape[0], shape[2]]),
      })),
    ]),
    conformanceCase("reduce", "squared differences from a repeated array", {}, (f) => ({
      op: "sum",
      program: scaledSquaredDifference,
      ins: [
        f.input([6, 20, 9]),
        f.input([6, 20, 9], normal(), "f32", repeated([6, 20, 9], [0, 2])),
      ],
      scalars: [2],
      out: f.output("out", [6, 9]),
    })),

    conformanceCase("reduce", "how many integers are equal", { cost: 20_011 }, (f) => ({
      op: "sum",
      program: countEqual,
      ins: [f.input([1, 20011, 1], whole(0, 5), "i32"), f.input([1, 20011, 1], whole(0, 5), "i32")],
      scalars: [],
      out: f.output("out", [1, 1], "f32", undefined, EXACT),
    })),
    conformanceCase("reduce", "sum of f16", { cost: 5000, half: true }, (f) => ({
      op: "sum",
      program: itself,
      ins: [f.input([7, 33, 20], normal(), "f16")],
      scalars: [],
      out: f.output("out", [7, 20]),
    })),

    ...positions("one element", [1, 1, 1]),
    ...positions("last axis", [17, 33, 1]),
    ...positions("first axis", [1, 17, 33]),
    ...positions("middle axis", [5, 17, 9]),
    ...positions("middle axis, odd offsets", [5, 17, 9], { lead: 3 }),
    ...positions("everything", [1, 20011, 1]),
    ...positions("ties", [4, 100, 3], { fill: whole(0, 4) }),
    ...positions("ties", [5, 33, 1], { fill: whole(0, 3) }),
    ...positions("all equal", [3, 70, 1], { fill: cycle([1.5]) }),
    ...positions("infinities", [1, 9, 1], {
      fill: cycle([1, -Infinity, Infinity, 3, Infinity, -Infinity, 7, 8, 9]),
    }),
    ...positions("transposed", [6, 17, 9], { layout: permuted([6, 17, 9], [2, 0, 1]) }),

    ...(["max", "min"] as const).map((op) =>
      conformanceCase("argReduce", `${op} of f16 with ties`, { half: true }, (f) => ({
        op,
        x: f.input([7, 33, 5], whole(-9, 9), "f16"),
        out: f.output("out", [7, 5], "i32"),
      }))
    ),

    ...runningSums("one element", [1, 1, 1]),
    conformanceCase("cumsum", "f16", { half: true, tolerance: { scaled: 1e-3 } }, (f) => ({
      x: f.input([3, 17, 5], normal(), "f16"),
      out: f.output("out", [3, 17, 5], "f16"),
      reverse: false,
    })),
    ...runningSums("last axis", [3, 17, 1]),
    ...runningSums("first axis", [1, 17, 33]),
    ...runningSums("middle axis, odd offsets", [3, 17, 5], { lead: 3 }),
    ...runningSums("long", [1, 20011, 1]),
    ...runningSums("many", [5003, 5, 1]),
    ...runningSums("transposed", [6, 17, 9], { layout: permuted([6, 17, 9], [2, 0, 1]) }),
    // A sum one by one in float32 would be 1e-3 and 3e-4 off here.
    ...runningSums("a tenth, over and over", [1, 262144, 1], {
      fill: cycle([0.1]),
      tolerance: { scaled: 2e-6 },
    }),
    ...runningSums("a tenth, over and over, in columns", [1, 100_000, 2], {
      fill: cycle([0.1]),
      tolerance: { scaled: 2e-6 },
    }),
  ];
}
