/** Elementwise programs: every operation of every type, and every pair of types. */
import {
  type CaseOptions,
  type ConformanceCase,
  conformanceCase,
  cycle,
  EXACT,
  type Fill,
  type Layout,
  normal,
  type Tolerance,
  uniform,
  whole,
} from "./conformance_fixture.ts";
import type { DType } from "./dtype.ts";
import {
  computeType,
  constant,
  elementIndex,
  type Expr,
  type Program,
  program,
  type Ty,
} from "./expr.ts";
import { type Shape, sizeOf } from "./shape.ts";

/** One input of an elementwise case. */
export interface In {
  readonly fill?: Fill;
  readonly dtype?: DType;
  readonly layout?: Layout;
}

/** One output of an elementwise case. */
export interface Out {
  readonly dtype?: DType;
  readonly layout?: Layout;
  readonly tolerance?: Tolerance;
}

/** Runs a formula over arrays of `shape`. */
export function formula(
  name: string,
  shape: Shape,
  ins: readonly In[],
  outs: readonly Out[],
  build: (...args: Expr[]) => Expr | Expr[],
  options: CaseOptions & { scalars?: readonly (readonly [Ty, number])[] } = {},
): ConformanceCase {
  const { scalars = [], ...rest } = options;
  const types = [...ins, ...outs].map(({ dtype = "f32" }) => dtype);
  const made: Program = program(
    `conformance.${name}`,
    [
      ...ins.map(({ dtype = "f32" }) => ({ kind: "input" as const, ty: computeType(dtype) })),
      ...scalars.map(([ty]) => ({ kind: "scalar" as const, ty })),
    ],
    build,
  );
  return conformanceCase("elementwise", name, {
    cost: sizeOf(shape) * (ins.length + outs.length),
    half: types.includes("f16"),
    tolerance: outs.some(({ dtype }) => dtype === "f16")
      ? { relative: 1.1e-3, absolute: 6.2e-5 }
      : { scaled: 2e-6 },
    ...rest,
  }, (f) => ({
    program: made,
    ins: ins.map(({ fill, dtype, layout }) => f.input(shape, fill, dtype, layout)),
    outs: outs.map(({ dtype, layout, tolerance }, i) =>
      f.output(`out ${i}`, shape, dtype, layout, tolerance)
    ),
    scalars: scalars.map(([, value]) => value),
  }));
}

const F32 = [{}];
const I32: Out[] = [{ dtype: "i32" }];
const U32: Out[] = [{ dtype: "u32" }];
const U8: Out[] = [{ dtype: "u8" }];

/** Every operation of an expression, over all its types. */
export function elementwiseCases(): ConformanceCase[] {
  return [...sizes(), ...floats(), ...integers(), ...conversions()];
}

function sizes(): ConformanceCase[] {
  return [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 255, 257, 1023, 20011, 70001]
    .flatMap((n) => [
      formula(`sum of ${n}`, [n], [{}, {}], F32, (a, b) => a.add(b), { tolerance: EXACT }),
      formula(
        `sum of ${n}, odd offsets`,
        [n],
        [{}, {}],
        F32,
        (a, b) => a.add(b),
        { tolerance: EXACT, lead: 3 },
      ),
    ]);
}

/** Functions of one f32, with a range of arguments and an error limit each. */
function floats(): ConformanceCase[] {
  const tiny = 2 ** -126;
  const edges = [0, -0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, 3.5, 1e-30, -1e-30, 1e30, -1e30, 8388609];
  const unary: [string, (x: Expr) => Expr, Fill, Tolerance][] = [
    ["neg", (x) => x.neg(), normal(), EXACT],
    ["neg of edges", (x) => x.neg(), cycle(edges), EXACT],
    ["abs", (x) => x.abs(), normal(), EXACT],
    ["abs of edges", (x) => x.abs(), cycle([...edges, Infinity, -Infinity]), EXACT],
    ["sqrt", (x) => x.sqrt(), uniform(0, 100), { relative: 1e-6, absolute: tiny }],
    ["sqrt of edges", (x) => x.sqrt(), cycle([0, 1, 4, 1e-30, 1e30]), { relative: 1e-6 }],
    ["floor", (x) => x.floor(), normal(10), EXACT],
    ["floor of edges", (x) => x.floor(), cycle(edges), EXACT],
    ["round", (x) => x.round(), normal(10), EXACT],
    ["round of edges and halves", (x) => x.round(), cycle([...edges, 4.5, 5.5, -3.5]), EXACT],
    ["exp2", (x) => x.exp2(), uniform(-8, 8), { relative: 3e-6 }],
    ["exp2 of all", (x) => x.exp2(), uniform(-125, 127), { relative: 3e-5, absolute: tiny }],
    ["exp2 of whole numbers", (x) => x.exp2(), whole(-30, 30), { relative: 1e-6 }],
    ["exp2 beyond its range", (x) => x.exp2(), cycle([-200, -1e4, 128.5, 300, 1e4]), {
      relative: 1e-6,
      absolute: tiny,
    }],
    ["exp", (x) => x.exp(), uniform(-10, 10), { relative: 5e-6 }],
    ["log2", (x) => x.log2(), uniform(1e-3, 100), { relative: 3e-6, absolute: 1e-6 }],
    ["log2 near 1", (x) => x.log2(), uniform(0.9, 1.1), { relative: 3e-5, absolute: 6e-7 }],
    ["log2 of powers", (x) => x.log2(), (_r, i) => 2 ** (i % 200 - 100), {
      relative: 1e-6,
      absolute: 6e-7,
    }],
    ["log", (x) => x.log(), uniform(0.1, 10), { relative: 3e-6, absolute: 1e-6 }],
    ["sin", (x) => x.sin(), uniform(-7, 7), { scaled: 1e-6 }],
    ["sin of thousands", (x) => x.sin(), uniform(-3000, 3000), { scaled: 1e-6 }],
    ["sin of 1e5", (x) => x.sin(), uniform(-1e5, 1e5), { scaled: 2e-6 }],
    ["cos", (x) => x.cos(), uniform(-7, 7), { scaled: 1e-6 }],
    ["cos of thousands", (x) => x.cos(), uniform(-3000, 3000), { scaled: 1e-6 }],
    ["cos of 1e5", (x) => x.cos(), uniform(-1e5, 1e5), { scaled: 2e-6 }],
    ["erf", (x) => x.erf(), uniform(-5, 5), { scaled: 1e-6 }],
    ["erf near 0", (x) => x.erf(), uniform(-0.01, 0.01), { relative: 1e-5, absolute: 1e-9 }],
    ["erf far out", (x) => x.erf(), cycle([-1e4, -10, 10, 1e4, 0]), { scaled: 1e-6 }],
    ["sigmoid", (x) => x.sigmoid(), uniform(-20, 20), { scaled: 2e-6 }],
    ["sigmoid far out", (x) => x.sigmoid(), cycle([-1e4, -100, 100, 1e4, 0]), {
      scaled: 1e-6,
    }],
  ];
  const binary: [string, (a: Expr, b: Expr) => Expr, Tolerance][] = [
    ["add", (a, b) => a.add(b), EXACT],
    ["sub", (a, b) => a.sub(b), EXACT],
    ["mul", (a, b) => a.mul(b), EXACT],
    ["div", (a, b) => a.div(b), { relative: 1e-6 }],
    ["min", (a, b) => a.min(b), EXACT],
    ["max", (a, b) => a.max(b), EXACT],
  ];
  const compare = ["lt", "le", "gt", "ge", "eq", "ne"] as const;
  const partly = cycle([1, 2, 3, 2, -0.5, 0, -0, 7]);
  const specials = cycle([NaN, Infinity, -Infinity, 1, -1, 0]);
  const inner = cycle([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, -2, -2, -2, -2, -2, -2]);
  return [
    ...unary.map(([name, f, fill, tolerance]) =>
      formula(name, [331], [{ fill }], F32, f, { tolerance })
    ),
    ...binary.map(([name, f, tolerance]) => formula(name, [203], [{}, {}], F32, f, { tolerance })),
    ...(["min", "max"] as const).flatMap((op) => [
      formula(
        `${op} with NaN on the left`,
        [18],
        [{ fill: specials }, { fill: inner }],
        F32,
        (a, b) => a[op](b),
        { tolerance: EXACT },
      ),
      formula(
        `${op} with NaN on the right`,
        [18],
        [{ fill: inner }, { fill: specials }],
        F32,
        (a, b) => a[op](b),
        { tolerance: EXACT },
      ),
    ]),
    ...compare.map((op) =>
      formula(
        `${op}`,
        [100],
        [{ fill: partly }, { fill: cycle([1, 3, 2, 2, 0]) }],
        U8,
        (a, b) => a[op](b).to("u32"),
      )
    ),
    formula(
      "NaN equals nothing",
      [12],
      [{ fill: specials }],
      U8,
      (a) => a.eq(a).to("u32"),
    ),
    formula(
      "finding infinities and NaN",
      [200],
      [{
        fill: (random, i) => [NaN, Infinity, -Infinity][i % 9] ?? random.normal() * 1e30,
      }],
      U8,
      (a) => a.isNonFinite().to("u32"),
    ),
    formula(
      "NaN and infinities go through",
      [60],
      [{ fill: specials }],
      F32,
      (a) => a.mul(2),
      { tolerance: EXACT },
    ),
    formula(
      "choosing and negating conditions",
      [100],
      [{}, {}],
      F32,
      (a, b) => a.lt(b).not().select(a.mul(2), b.sub(1)),
      { tolerance: { scaled: 1e-6 } },
    ),
    formula(
      "the branch that is not taken does not matter",
      [100],
      [{}],
      F32,
      (a) => a.gt(0).select(a.log2(), 0),
      { tolerance: { scaled: 2e-6 } },
    ),
    formula(
      "two numbers given at launch",
      [77],
      [{}],
      F32,
      (a, scale, shift) => a.mul(scale).add(shift),
      { scalars: [["f32", 2.5], ["f32", -1]], tolerance: { scaled: 1e-6 } },
    ),
    formula("an infinite number given at launch", [7], [{}], F32, (a, top) => a.min(top), {
      scalars: [["f32", Infinity]],
      tolerance: EXACT,
    }),
    formula("a constant alone", [37], [], F32, () => constant(1.5), { tolerance: EXACT }),
    formula("one array twice over", [70], [{}], F32, (a) => a.mul(a).add(a), {
      tolerance: { scaled: 1e-6 },
    }),
  ];
}

/** Any 32 bits, the corners among them. */
const words: Fill = (random, i) =>
  [0, 1, 2, 0x7fffffff, 0x80000000, 0x80000001, 0xffffffff, 0xfffffffe, 0xffff][i % 19] ??
    random.bits();

function integers(): ConformanceCase[] {
  const cases: ConformanceCase[] = [];
  for (const dtype of ["i32", "u32"] as const) {
    const one: In[] = [{ dtype, fill: words }];
    const two: In[] = [{ dtype, fill: words }, { dtype, fill: (random) => random.bits() }];
    const out: Out[] = [{ dtype }];
    for (const op of ["add", "sub", "mul", "min", "max", "and", "or", "xor"] as const) {
      cases.push(formula(`${dtype} ${op}`, [333], two, out, (a, b) => a[op](b)));
    }
    for (const op of ["lt", "le", "gt", "ge", "eq", "ne"] as const) {
      cases.push(
        formula(`${dtype} ${op}`, [333], [one[0]!, one[0]!], U8, (a, b) => a[op](b).to("u32")),
      );
    }
    for (const bits of [0, 1, 13, 31]) {
      cases.push(
        formula(`${dtype} shifted left by ${bits}`, [40], one, out, (a) => a.shl(bits)),
        formula(`${dtype} shifted right by ${bits}`, [40], one, out, (a) => a.shr(bits)),
      );
    }
    cases.push(
      formula(`${dtype} neg`, [40], one, out, (a) => a.neg()),
      formula(`${dtype} abs`, [40], one, out, (a) => a.abs()),
      formula(`${dtype} with constants`, [40], one, out, (a) => a.mul(0x9e3779b1 | 0).add(-7 | 0)),
      formula(`${dtype} chosen`, [333], two, out, (a, b) => a.gt(b).select(a, 3)),
    );
  }
  const unsigned: In[] = [{ dtype: "u32", fill: words }, { dtype: "u32", fill: words }];
  return [
    ...cases,
    formula("u32 mulhi", [400], unsigned, U32, (a, b) => a.mulhi(b)),
    formula("u32 mulhi with a constant", [400], [unsigned[0]!], U32, (a) => a.mulhi(0xd2511f53)),
    formula("u32 given at launch", [33], [unsigned[0]!], U32, (a, key) => a.xor(key), {
      scalars: [["u32", 0xdeadbeef]],
    }),
    formula("i32 given at launch", [33], [{ dtype: "i32", fill: words }], I32, (a, n) => a.add(n), {
      scalars: [["i32", -5]],
    }),
    formula(
      "numbers of all types given at launch",
      [33],
      [{}],
      F32,
      (x, a, b, c) => x.mul(a).add(b.to("f32")).add(c.to("f32")),
      {
        scalars: [["f32", 1.5], ["i32", -100], ["u32", 7]],
        tolerance: { scaled: 1e-6 },
      },
    ),
    formula("element numbers", [20011], [], U32, () => elementIndex()),
    formula("element numbers of rows", [7, 5, 3], [], U32, () => elementIndex().mul(3).add(1)),
    formula(
      "element numbers beside an array",
      [13, 9],
      [{}],
      F32,
      (x) => x.add(elementIndex().to("f32")),
      { tolerance: { scaled: 1e-6 } },
    ),
  ];
}

/** Whole numbers that each type can hold, and f32 can hold exactly. */
const exactValues: { readonly [D in DType]: Fill } = {
  f32: (random, i) => [0, -1.9, 1.9, 300.5, -300.5, -0.5][i % 11] ?? 1000 * random.normal(),
  f16: (random, i) => [0, -1.5, 1.5, 300.5, -300.5, 65504][i % 11] ?? 100 * random.normal(),
  i32: (random, i) => [0, -1, 1, 16777216, -16777216][i % 11] ?? random.bits() % 1000,
  u32: (random, i) => [0, 1, 255, 16777216][i % 11] ?? random.bits() % 1000,
  u8: (random) => random.bits() % 256,
};
const bytes = whole(0, 256);
const small = uniform(0, 250);

function conversions(): ConformanceCase[] {
  const cases: ConformanceCase[] = [];
  for (const from of ["f32", "f16", "i32", "u32", "u8"] as const) {
    for (const to of ["f32", "f16", "i32", "u32", "u8"] as const) {
      // What does not fit into the target is nowhere defined, except into f16.
      const fill = to === "u8" || (to === "u32" && from !== "i32" && from !== "u8")
        ? from === "f32" || from === "f16" ? small : bytes
        : to === "f16" && (from === "i32" || from === "u32")
        ? whole(from === "i32" ? -2048 : 0, 2048)
        : exactValues[from];
      for (const lead of [64, 3]) {
        cases.push(
          formula(
            `${from} to ${to}${lead === 64 ? "" : ", odd offsets"}`,
            [1003],
            [{ dtype: from, fill }],
            [{ dtype: to }],
            (x) => x.to(computeType(to)),
            { lead, ...(to === "f32" ? { tolerance: EXACT } : {}) },
          ),
        );
      }
    }
    cases.push(
      formula(
        `${from} to a condition`,
        [100],
        [{ dtype: from, fill: cycle([0, 1, 0, 2, 7]) }],
        U8,
        (x) => x.to("bool").to("u32"),
      ),
    );
  }
  const bits = (random: { bits(): number }) => random.bits() % 0x7f000000 || 0x00800000;
  const halves = { dtype: "f16" } as const;
  return [
    ...cases,
    formula("a condition to every type", [50], [{}], [{}, { dtype: "i32" }, ...U32], (x) => {
      const positive = x.gt(0);
      return [positive.to("f32"), positive.to("i32"), positive.to("u32")];
    }, { tolerance: EXACT }),
    formula("bits of f32 as u32", [200], [{}], U32, (x) => x.bits("u32")),
    formula("bits of f32 as i32", [200], [{}], I32, (x) => x.bits("i32")),
    formula(
      "bits of u32 as f32",
      [200],
      [{
        dtype: "u32",
        fill: (random) => 0x00800000 + bits(random) % 0x7e000000,
      }],
      F32,
      (x) => x.bits("f32"),
      { tolerance: { relative: 0 } },
    ),
    formula(
      "bits of i32 as u32",
      [200],
      [{ dtype: "i32", fill: words }],
      U32,
      (x) => x.bits("u32"),
    ),
    formula(
      "f16 of every size",
      [65536 / 2 - 1024],
      [{
        dtype: "f16",
        fill: (_r, i) => halfOfBits(i),
      }],
      F32,
      (x) => x,
      { tolerance: { relative: 0, absolute: 6.2e-5 } },
    ),
    formula(
      "f32 beyond f16 becomes infinite",
      [40],
      [{
        fill: cycle([1e6, -1e6, 65504, -65504, 3e38, 1]),
      }],
      [halves],
      (x) => x,
    ),
    formula(
      "NaN and infinities to f16",
      [40],
      [{
        fill: cycle([NaN, 1, Infinity, 2, -Infinity]),
      }],
      [halves],
      (x) => x,
    ),
    formula(
      "f16 infinities and NaN found",
      [40],
      [{
        ...halves,
        fill: cycle([NaN, 1, Infinity, 2, -Infinity, 65504]),
      }],
      U8,
      (x) => x.isNonFinite().to("u32"),
    ),
    ...[1, 2, 3, 17, 20011].flatMap((n) =>
      [64, 3].map((lead) =>
        formula(`f16 sum of ${n} at ${lead}`, [n], [halves, halves], [halves], (a, b) => a.add(b), {
          lead,
        })
      )
    ),
    ...[1, 2, 3, 4, 5, 17, 20011].flatMap((n) =>
      [64, 3].map((lead) =>
        formula(
          `u8 choosing among ${n} at ${lead}`,
          [n],
          [{ dtype: "u8", fill: whole(0, 2) }, {}, {}],
          F32,
          (c, a, b) => c.to("bool").select(a, b),
          { lead, tolerance: EXACT },
        )
      )
    ),
    ...[1, 2, 3, 4, 5, 17, 20011].flatMap((n) =>
      [64, 3, 2, 1].map((lead) =>
        formula(`${n} conditions to u8 at ${lead}`, [n], [{}], U8, (a) => a.gt(0).to("u32"), {
          lead,
        })
      )
    ),
  ];
}

/** The finite f16 number with these 15 low bits. */
function halfOfBits(bits: number): number {
  return new Float16Array(Uint16Array.of(bits).buffer)[0]!;
}
