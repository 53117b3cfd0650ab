/** Elementwise programs: array sizes, and every operation on f32. */
import {
  type ConformanceCase,
  cycle,
  EXACT,
  type Fill,
  normal,
  type Tolerance,
  uniform,
  whole,
} from "./fixture.ts";
import { F32, formula, U8 } from "./formula.ts";
import { constant, type Expr } from "../expr.ts";

/** Sums of every awkward length, and the operations of f32. */
export function elementwiseCases(): ConformanceCase[] {
  return [...sizes(), ...floats()];
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

/** Numbers of both signs and of every exponent that f32 has. */
const ofAnySize: Fill = (random) =>
  Math.fround((random.uniform() < 0.5 ? -1 : 1) * 2 ** (254 * random.uniform() - 126));

/** The nearest f32 to multiples of pi/2, some small and some far beyond what f32 counts exactly. */
const wholeTurns: Fill = (random, i) =>
  Math.fround(Math.round(2 ** (i % 100) * random.uniform()) * Math.PI / 2);

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
    ["sin of 1e5", (x) => x.sin(), uniform(-1e5, 1e5), { scaled: 1e-6 }],
    ["sin of any size", (x) => x.sin(), ofAnySize, { scaled: 1e-6 }],
    ["sin of whole turns", (x) => x.sin(), wholeTurns, { scaled: 1e-6 }],
    ["sin of what is not finite", (x) => x.sin(), cycle([Infinity, -Infinity, NaN, 0]), EXACT],
    ["cos", (x) => x.cos(), uniform(-7, 7), { scaled: 1e-6 }],
    ["cos of thousands", (x) => x.cos(), uniform(-3000, 3000), { scaled: 1e-6 }],
    ["cos of 1e5", (x) => x.cos(), uniform(-1e5, 1e5), { scaled: 1e-6 }],
    ["cos of any size", (x) => x.cos(), ofAnySize, { scaled: 1e-6 }],
    ["cos of whole turns", (x) => x.cos(), wholeTurns, { scaled: 1e-6 }],
    ["cos of what is not finite", (x) => x.cos(), cycle([Infinity, -Infinity, NaN, 0]), EXACT],
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
    // A device may take subnormal numbers for zero, but for nothing else.
    formula(
      "subnormals",
      [40],
      [{
        fill: cycle([2 ** -149, -(2 ** -130), 2 ** -127, 2 ** -126, 1, -0]),
      }],
      F32,
      (a) => a.mul(1),
      { tolerance: { relative: 0, absolute: tiny } },
    ),
    formula("one array twice over", [70], [{}], F32, (a) => a.mul(a).add(a), {
      tolerance: { scaled: 1e-6 },
    }),
  ];
}
