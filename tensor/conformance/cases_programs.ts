/** Elementwise kernels as the layers above use them: every layout, and programs of real size. */
import {
  type ConformanceCase,
  conformanceCase,
  EXACT,
  type MemoryLayout,
  normal,
  permuted,
  Random,
  repeated,
  uniform,
  window,
} from "./fixture.ts";
import { formula, type In } from "./formula.ts";
import { constant, elementIndex, type Expr, program } from "../expr.ts";
import type { Shape } from "../shape.ts";

const input = { kind: "input", ty: "f32" } as const;
const number = { kind: "scalar", ty: "f32" } as const;

/** Strided inputs and outputs, and larger programs. */
export function programCases(): ConformanceCase[] {
  return [
    ...inputLayouts(),
    ...randomLayouts(),
    ...outputLayouts(),
    ...inPlace(),
    ...largePrograms(),
  ];
}

function copies(name: string, shape: Shape, layout: MemoryLayout): ConformanceCase[] {
  const options = { tolerance: EXACT };
  const wide = (x: Expr) => x;
  return [
    formula(`reading ${name}`, shape, [{ layout }], [{}], wide, options),
    formula(`reading ${name}, odd offsets`, shape, [{ layout }], [{}], wide, {
      ...options,
      lead: 3,
    }),
    formula(`reading u8 ${name}`, shape, [{ layout, dtype: "u8", fill: uniform(0, 255) }], [{
      dtype: "u32",
    }], wide),
    formula(`reading f16 ${name}`, shape, [{ layout, dtype: "f16" }], [{}], wide, options),
  ];
}

function inputLayouts(): ConformanceCase[] {
  const sum = (a: Expr, b: Expr) => a.add(b);
  const exact = { tolerance: EXACT };
  /** One operand repeated along `axes`, in either place. */
  const broadcasts = (shape: Shape, axes: readonly number[]) => {
    const layout = repeated(shape, axes);
    const name = `[${shape}] repeated along ${axes.length === 0 ? "none" : axes}`;
    return [
      formula(`${name}, right`, shape, [{}, { layout }], [{}], sum, exact),
      formula(`${name}, left, odd offsets`, shape, [{ layout }, {}], [{}], sum, {
        ...exact,
        lead: 5,
      }),
    ];
  };
  return [
    formula("no dimensions", [], [{}, {}], [{}], sum, exact),
    formula("six dimensions of 1", [1, 1, 1, 1, 1, 1], [{}, {}], [{}], sum, exact),
    formula(
      "dimensions of 1 with strange strides",
      [1, 5, 1, 7],
      [
        { layout: { strides: [999, 7, 123, 1] } },
        {},
      ],
      [{}],
      sum,
      exact,
    ),
    ...broadcasts([17, 33], [0]),
    ...broadcasts([17, 33], [1]),
    ...broadcasts([17, 33], [0, 1]),
    ...broadcasts([5, 6, 7], [0]),
    ...broadcasts([5, 6, 7], [1]),
    ...broadcasts([5, 6, 7], [2]),
    ...broadcasts([5, 6, 7], [0, 2]),
    ...broadcasts([5, 6, 7], [1, 2]),
    ...broadcasts([3, 4, 64], [1]),
    ...broadcasts([130, 384], [0]),
    ...broadcasts([2, 3, 4, 5, 6], [1, 3]),
    ...broadcasts([2, 3, 4, 5, 6], [0, 2, 4]),
    formula(
      "repeated both ways",
      [17, 33],
      [
        { layout: repeated([17, 33], [0]) },
        { layout: repeated([17, 33], [1]) },
      ],
      [{}],
      sum,
      exact,
    ),
    ...copies("transposed", [33, 17], permuted([33, 17], [1, 0])),
    ...copies("transposed in a batch", [3, 20, 35], permuted([3, 20, 35], [0, 2, 1])),
    ...copies("reversed order", [5, 6, 7], permuted([5, 6, 7], [2, 1, 0])),
    ...copies("channels last", [2, 3, 5, 7], permuted([2, 3, 5, 7], [0, 2, 3, 1])),
    ...copies(
      "six dimensions",
      [2, 3, 4, 2, 3, 5],
      permuted([2, 3, 4, 2, 3, 5], [0, 5, 1, 3, 2, 4]),
    ),
    ...copies("patches", [2, 8, 4, 2, 4, 2], permuted([2, 8, 4, 2, 4, 2], [0, 2, 4, 3, 5, 1])),
    ...copies("a slice", [4, 9], window([7, 20], [2, 5])),
    ...copies("a middle slice", [3, 2, 8], window([3, 6, 8], [0, 3, 0])),
    ...copies("every other element", [5, 11], window([5, 22], [0, 1], [1, 2])),
    ...copies("every third row", [4, 10], window([12, 10], [2, 0], [3, 1])),
    formula(
      "a large transpose",
      [257, 130],
      [{ layout: permuted([257, 130], [1, 0]) }],
      [{}],
      (x) => x,
      exact,
    ),
    formula(
      "two transposed, one not",
      [33, 65],
      [
        { layout: permuted([33, 65], [1, 0]) },
        {},
        { layout: permuted([33, 65], [1, 0]) },
      ],
      [{}],
      (a, b, c) => a.mul(b).add(c),
      { tolerance: { scaled: 1e-6 } },
    ),
    formula(
      "twice its size by repeating",
      [3, 5, 2, 4, 2],
      [{
        layout: repeated([3, 5, 2, 4, 2], [2, 4]),
      }],
      [{}],
      (x) => x,
      exact,
    ),
    formula(
      "element numbers over a transposed input",
      [13, 7],
      [{
        layout: permuted([13, 7], [1, 0]),
      }],
      [{}],
      (x) => x.add(elementIndex().to("f32")),
      { tolerance: { scaled: 1e-6 } },
    ),
  ];
}

/** Random shapes of 1 to 6 dimensions in random order, repeated, cut out or with steps. */
function randomLayouts(): ConformanceCase[] {
  const random = new Random("layouts");
  const below = (limit: number) => random.bits() % limit;
  const layoutOf = (shape: Shape, mayRepeat: boolean): MemoryLayout => {
    const order = shape.map((_, i) => i);
    for (let i = order.length - 1; i > 0; i--) {
      const j = below(i + 1);
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    switch (below(mayRepeat ? 5 : 3)) {
      case 0:
        return permuted(shape, shape.map((_, i) => i));
      case 1:
        return permuted(shape, order);
      case 2: {
        const step = shape.map(() => 1 + below(2));
        const at = shape.map(() => below(3));
        return window(shape.map((d, i) => at[i]! + d * step[i]! + below(2)), at, step);
      }
      default:
        return repeated(shape, order.slice(below(shape.length)));
    }
  };
  return Array.from({ length: 60 }, (_, i) => {
    const shape = Array.from({ length: 1 + below(6) }, () => 1 + below(7));
    return formula(
      `random layouts ${i}, [${shape}]`,
      shape,
      [{ layout: layoutOf(shape, true) }, { layout: layoutOf(shape, true) }],
      [{ layout: layoutOf(shape, false) }],
      (a, b) => a.sub(b),
      { tolerance: EXACT, lead: [64, 0, 1, 2, 3][below(5)]! },
    );
  });
}

function outputLayouts(): ConformanceCase[] {
  const cases: ConformanceCase[] = [];
  const windows: [string, Shape, MemoryLayout][] = [
    ["columns", [5, 9], window([5, 30], [0, 7])],
    ["rows", [5, 9], window([12, 9], [3, 0])],
    ["a rectangle", [5, 9], window([12, 30], [3, 7])],
    ["a middle part", [3, 5, 8], window([3, 9, 8], [0, 3, 0])],
    ["the inside of an image", [2, 3, 6, 5], window([2, 3, 8, 7], [0, 0, 1, 1])],
    ["every other element", [6, 7], window([6, 14], [0, 1], [1, 2])],
    ["transposed places", [9, 14], permuted([9, 14], [1, 0])],
    ["one column", [20, 1], window([20, 6], [0, 4])],
    ["large columns", [130, 64], window([130, 192], [0, 64])],
  ];
  for (const [name, shape, layout] of windows) {
    for (const dtype of ["f32", "f16", "i32", "u32", "u8"] as const) {
      for (const lead of dtype === "f32" || dtype === "u8" ? [64, 3] : [64]) {
        const source: In = dtype === "f32" || dtype === "f16"
          ? { dtype }
          : { dtype, fill: uniform(0, 255) };
        cases.push(
          formula(
            `${dtype} into ${name}${lead === 64 ? "" : ", odd offsets"}`,
            shape,
            [source],
            [{ dtype, layout }],
            (x) => x,
            { lead },
          ),
        );
      }
    }
    cases.push(
      formula(
        `element numbers into ${name}`,
        shape,
        [],
        [{ dtype: "u32", layout }],
        () => elementIndex(),
      ),
    );
  }
  return cases;
}

const adamW = program(
  "conformance.adamW",
  [input, input, input, input, number, number, number],
  (weight, gradient, mean, square, rate, beta1, beta2) => {
    const m = mean.mul(beta1).add(gradient.mul(constant(1).sub(beta1)));
    const v = square.mul(beta2).add(gradient.mul(gradient).mul(constant(1).sub(beta2)));
    const step = m.div(v.sqrt().add(1e-8)).mul(rate);
    return [weight.mul(0.999).sub(step), m, v];
  },
);

const double = program("double", [input], (x) => x.mul(2));
const addInto = program("addInto", [input, input], (x, y) => x.add(y));

function inPlace(): ConformanceCase[] {
  const cases: ConformanceCase[] = [];
  for (const n of [1, 5, 64, 1003, 20011]) {
    for (const lead of [64, 3]) {
      const at = lead === 64 ? "" : ", odd offsets";
      cases.push(
        conformanceCase(
          "elementwise",
          `AdamW of ${n} in place${at}`,
          { cost: 7 * n, lead },
          (f) => {
            const [weight, mean, square] = [
              f.changed("weight", [n], normal()),
              f.changed("mean", [n], normal(0.1)),
              f.changed("square", [n], uniform(0.1, 2)),
            ];
            return {
              program: adamW,
              ins: [weight, f.input([n]), mean, square],
              outs: [weight, mean, square],
              scalars: [0.125, 0.875, 0.96875],
            };
          },
        ),
        conformanceCase("elementwise", `adding to ${n} in place${at}`, {
          cost: 3 * n,
          lead,
          tolerance: EXACT,
        }, (f) => {
          const target = f.changed("target", [n], normal());
          return { program: addInto, ins: [target, f.input([n])], outs: [target], scalars: [] };
        }),
      );
    }
  }
  for (const dtype of ["f32", "f16"] as const) {
    cases.push(
      conformanceCase("elementwise", `${dtype} window doubled in place`, {
        tolerance: EXACT,
        half: dtype === "f16",
      }, (f) => {
        const layout = window([9, 17], [2, 3]);
        const x = f.changed("x", [5, 9], normal(), dtype, layout);
        return { program: double, ins: [x], outs: [x], scalars: [] };
      }),
    );
  }
  cases.push(
    conformanceCase("elementwise", "a repeated row added in place", { tolerance: EXACT }, (f) => {
      const target = f.changed("target", [17, 33], normal());
      const row = f.input([17, 33], normal(), "f32", repeated([17, 33], [0]));
      return { program: addInto, ins: [target, row], outs: [target], scalars: [] };
    }),
    conformanceCase("elementwise", "an array added to itself", { tolerance: EXACT }, (f) => {
      const target = f.changed("target", [100], normal());
      return { program: addInto, ins: [target, target], outs: [target], scalars: [] };
    }),
  );
  return cases;
}

/** Ten rounds of Philox 4x32 (Salmon and others, SC11) from the element's number and two keys. */
function philox(key0: Expr, key1: Expr): Expr[] {
  let [c0, c1, c2, c3] = [
    elementIndex(),
    constant(7, "u32"),
    constant(0, "u32"),
    constant(1, "u32"),
  ];
  for (let round = 0; round < 10; round++) {
    [c0, c1, c2, c3] = [
      c2.mulhi(0xcd9e8d57).xor(c1).xor(key0),
      c2.mul(0xcd9e8d57),
      c0.mulhi(0xd2511f53).xor(c3).xor(key1),
      c0.mul(0xd2511f53),
    ];
    key0 = key0.add(0x9e3779b9);
    key1 = key1.add(0xbb67ae85);
  }
  return [c0, c1, c2, c3];
}

/** A standard normal number from two words (Box and Muller). */
function gaussian(a: Expr, b: Expr): Expr {
  const u = a.shr(8).to("f32").add(0.5).mul(2 ** -24);
  const angle = b.shr(8).to("f32").mul(2 * Math.PI * 2 ** -24);
  return u.log2().mul(-2 * Math.LN2).sqrt().mul(angle.cos());
}

function largePrograms(): ConformanceCase[] {
  const words = { dtype: "u32" } as const;
  const keys = [["u32", 0x12345678], ["u32", 0x9abcdef0]] as const;
  const geluTanh = (x: Expr) => {
    const z = x.mul(x).mul(x).mul(0.044715).add(x).mul(2 * Math.sqrt(2 / Math.PI));
    return x.mul(z.sigmoid());
  };
  const half = { dtype: "f16" } as const;
  return [
    ...[1, 17, 1003].map((n) =>
      formula(`Philox of ${n}`, [n], [], [words, words, words, words], philox, {
        scalars: keys,
        cost: 100 * n,
      })
    ),
    formula("normal numbers by Philox", [5003], [], [{}], (a, b) => {
      const [c0, c1] = philox(a, b);
      return gaussian(c0!, c1!);
    }, { scalars: keys, cost: 500_000, tolerance: { scaled: 5e-6 } }),
    formula("GELU", [70, 33], [{ fill: normal(2) }], [{}], geluTanh, {
      tolerance: { scaled: 3e-6 },
    }),
    formula("GELU of f16", [70, 33], [{ fill: normal(2), ...half }], [half], geluTanh),
    formula(
      "gated residual of rows",
      [3, 17, 33],
      [{}, {}, { layout: { strides: [6 * 33, 0, 1], offset: 33, extent: 3 * 6 * 33 } }],
      [{}],
      (x, branch, gate) => x.add(branch.mul(gate)),
      { tolerance: { scaled: 1e-6 } },
    ),
    formula("an f32 weight and its f16 copy", [1003], [{}, {}], [{}, half], (w, g) => {
      const next = w.sub(g.mul(0.25));
      return [next, next];
    }),
    formula(
      "seven inputs",
      [203],
      Array.from({ length: 7 }, () => ({})),
      [{}],
      (...xs) => xs.reduce((a, b) => a.mul(0.5).add(b)),
      { tolerance: { scaled: 1e-6 } },
    ),
    formula("four outputs of four types", [203], [{ fill: uniform(0, 200) }], [
      {},
      half,
      { dtype: "i32" },
      { dtype: "u8" },
    ], (x) => [x.mul(2), x, x.to("i32").neg(), x.to("u32")]),
  ];
}
