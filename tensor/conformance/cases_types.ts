/** Elementwise programs: every operation on integers, and every pair of types. */
import { type ConformanceCase, cycle, EXACT, type Fill, uniform, whole } from "./fixture.ts";
import { F32, formula, I32, type In, type Out, U32, U8 } from "./formula.ts";
import type { DType } from "../dtype.ts";
import { computeType, elementIndex } from "../expr.ts";

/** Integers, conversions, and the narrow types f16 and u8. */
export function typeCases(): ConformanceCase[] {
  return [...integers(), ...conversions(), ...narrow()];
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
  ];
}

/** Types of which several share a word, at every place in the word. */
function narrow(): ConformanceCase[] {
  const halves = { dtype: "f16" } as const;
  return [
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
