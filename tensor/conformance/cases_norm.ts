import {
  type CaseOptions,
  type ConformanceCase,
  conformanceCase,
  cycle,
  type Fill,
  normal,
  uniform,
  window,
} from "./fixture.ts";

type Float = "f32" | "f16";

/** What f16 arrays change in a case. */
function typed(dtype: Float): CaseOptions {
  return dtype === "f16" ? { half: true, tolerance: { scaled: 1e-3 } } : {};
}

function softmaxPair(
  name: string,
  rows: number,
  columns: number,
  fill: Fill,
  options: CaseOptions = {},
  dtype: Float = "f32",
): ConformanceCase[] {
  const shape = [rows, columns];
  const cases: ConformanceCase[] = [];
  for (const log of [false, true]) {
    const settings = { cost: rows * columns, ...typed(dtype), ...options };
    const title = `${name}${log ? ", logarithm" : ""}`;
    cases.push(
      conformanceCase("softmax", title, settings, (f) => ({
        x: f.input(shape, fill, dtype),
        out: f.output("out", shape, dtype),
        log,
      })),
      conformanceCase("softmaxGrad", title, settings, (f) => ({
        // Not sums of exponentials, but the formula does not ask for that.
        y: f.input(shape, log ? uniform(-5, 0) : uniform(0, 2 / columns), dtype),
        g: f.input(shape, normal(), dtype),
        out: f.output("out", shape, dtype),
        log,
      })),
    );
  }
  return cases;
}

type Affine = "plain" | "weight" | "weight only" | "modulate";

function layerNormPair(
  name: string,
  [B, T, N]: readonly [number, number, number],
  affine: Affine,
  fill: Fill = normal(),
  options: CaseOptions = {},
  dtype: Float = "f32",
  centred = true,
  residual = false,
  gated = false,
): ConformanceCase[] {
  const settings = { cost: B * T * N, ...typed(dtype), ...options };
  const title = `${name}, [${B}, ${T}, ${N}], ${affine}${dtype === "f16" ? ", f16" : ""}` +
    (centred ? "" : ", not centred") + (residual ? ", residual" : "") +
    (gated ? ", of a gated branch" : "");
  // Gradients of a part may be written where those of the whole are gathered.
  const part = (at: number) => residual ? window([B, 6 * N], [0, at * N]) : undefined;
  const hasWeight = affine === "weight" || affine === "weight only";
  return [
    conformanceCase("layerNorm", title, settings, (f) => ({
      x: f.input([B, T, N], fill, dtype),
      branch: gated ? f.input([B, T, N], normal(), dtype) : null,
      gate: gated ? f.input([B, N], normal(), dtype, window([B, 6 * N], [0, 2 * N])) : null,
      summed: gated ? f.output("summed", [B, T, N], dtype) : null,
      weight: hasWeight ? f.input([N], normal(0.5, 1), dtype) : null,
      bias: affine === "weight" ? f.input([N], normal(), dtype) : null,
      // Scale and shift are slices of one [B, 6 N] projection, as in adaLN.
      scale: affine === "modulate"
        ? f.input([B, N], normal(0.5), dtype, window([B, 6 * N], [0, N]))
        : null,
      shift: affine === "modulate"
        ? f.input([B, N], normal(), dtype, window([B, 6 * N], [0, 0]))
        : null,
      eps: 1e-6,
      centred,
      out: f.output("out", [B, T, N], dtype),
      mean: f.output("mean", [B, T]),
      rstd: f.output("rstd", [B, T]),
    })),
    conformanceCase("layerNormGrad", title, settings, (f) => ({
      x: f.input([B, T, N], normal(), dtype),
      g: f.input([B, T, N], normal(), dtype),
      weight: hasWeight ? f.input([N], normal(0.5, 1), dtype) : null,
      scale: affine === "modulate"
        ? f.input([B, N], normal(0.5), dtype, window([B, 6 * N], [0, N]))
        : null,
      centred,
      mean: f.input([B, T], centred ? normal(0.1) : () => 0),
      rstd: f.input([B, T], uniform(0.8, 1.2)),
      residual: residual ? f.input([B, T, N]) : null,
      branch: gated ? f.input([B, T, N], normal(), dtype) : null,
      gate: gated ? f.input([B, N], normal(), dtype, window([B, 6 * N], [0, 2 * N])) : null,
      dBranch: gated ? f.output("dBranch", [B, T, N], dtype) : null,
      dGate: gated ? f.output("dGate", [B, N], dtype, part(2)) : null,
      dx: f.output("dx", [B, T, N], dtype),
      dWeight: hasWeight ? f.output("dWeight", [N], dtype) : null,
      dBias: hasWeight && centred ? f.output("dBias", [N], dtype) : null,
      dScale: affine === "modulate" ? f.output("dScale", [B, N], dtype, part(1)) : null,
      dShift: affine === "modulate" ? f.output("dShift", [B, N], dtype, part(0)) : null,
    })),
  ];
}

function gateGradCase(
  [B, T, N]: readonly [number, number, number],
  options: CaseOptions = {},
  dtype: Float = "f32",
): ConformanceCase {
  const settings = { cost: B * T * N, ...typed(dtype), ...options };
  const title = `[${B}, ${T}, ${N}]${dtype === "f16" ? ", f16" : ""}`;
  return conformanceCase("gateGrad", title, settings, (f) => ({
    x: f.input([B, T, N], normal(), dtype),
    gate: f.input([B, N], normal(), dtype, window([B, 6 * N], [0, 2 * N])),
    g: f.input([B, T, N]),
    dx: f.output("dx", [B, T, N], dtype),
    dGate: f.output("dGate", [B, N], dtype, window([B, 6 * N], [0, 2 * N])),
  }));
}

function groupNormPair(
  [N, C, S]: readonly [number, number, number],
  groups: number,
  silu: boolean,
  fill: Fill = normal(),
  options: CaseOptions = {},
  dtype: Float = "f32",
): ConformanceCase[] {
  const settings = { cost: 2 * N * C * S, ...typed(dtype), ...options };
  const title = `[${N}, ${C}, ${S}], ${groups} groups${silu ? ", silu" : ""}` +
    (options.lead === undefined ? "" : ", odd offsets") +
    (dtype === "f16" ? ", f16" : "");
  const common = { groups, silu };
  return [
    conformanceCase("groupNorm", title, settings, (f) => ({
      x: f.input([N, C, S], fill, dtype),
      weight: f.input([C], normal(0.5, 1), dtype),
      bias: f.input([C], normal(), dtype),
      eps: 1e-6,
      ...common,
      out: f.output("out", [N, C, S], dtype),
      mean: f.output("mean", [N, groups]),
      rstd: f.output("rstd", [N, groups]),
    })),
    conformanceCase("groupNormGrad", title, settings, (f) => ({
      x: f.input([N, C, S], normal(), dtype),
      g: f.input([N, C, S], normal(), dtype),
      weight: f.input([C], normal(0.5, 1), dtype),
      bias: f.input([C], normal(), dtype),
      ...common,
      mean: f.input([N, groups], normal(0.1)),
      rstd: f.input([N, groups], uniform(0.8, 1.2)),
      dx: f.output("dx", [N, C, S], dtype),
      dWeight: f.output("dWeight", [C], dtype),
      dBias: f.output("dBias", [C], dtype),
    })),
  ];
}

/** Softmax, layer normalisation and group normalisation, with their gradients. */
export function normCases(): ConformanceCase[] {
  const loose = { tolerance: { scaled: 1e-3 } };
  return [
    ...softmaxPair("17 rows of 33", 17, 33, normal(3)),
    ...softmaxPair("3 rows of 1", 3, 1, normal()),
    ...softmaxPair("1 row of 1", 1, 1, normal()),
    ...softmaxPair("2 rows of 7, odd offsets", 2, 7, normal(), { lead: 3 }),
    ...softmaxPair("300 rows of 16", 300, 16, normal()),
    ...softmaxPair("100 rows of 257", 100, 257, normal(4)),
    ...softmaxPair("2 rows of 20011", 2, 20011, normal()),
    ...softmaxPair("5 rows of 21 large logits", 5, 21, uniform(500, 3000), loose),
    ...softmaxPair("5 rows of 21 small logits", 5, 21, uniform(-3000, -500), loose),
    ...softmaxPair("logits of any size", 6, 9, cycle([3e38, -3e38, 1e9, 3e38, 1e9 + 64, -1e38])),
    ...softmaxPair(
      "infinities among logits, and rows of nothing else",
      8,
      6,
      (_random, i) => i < 12 ? -Infinity : i < 18 ? Infinity : i % 5 === 0 ? -Infinity : i % 7,
    ),
    ...softmaxPair("rows of equal logits", 4, 10, cycle([7])),
    conformanceCase("softmax", "rows with minus infinity", {}, (f) => ({
      x: f.input([3, 10], cycle([1, -Infinity, 2, -Infinity, -1, 0.5])),
      out: f.output("out", [3, 10]),
      log: false,
    })),

    ...softmaxPair("f16 rows", 17, 33, normal(3), {}, "f16"),
    ...softmaxPair("f16 rows, odd offsets", 5, 64, normal(3), { lead: 3 }, "f16"),

    ...layerNormPair("one element", [1, 1, 1], "plain"),
    ...layerNormPair("odd width", [2, 5, 33], "plain"),
    ...layerNormPair("odd width", [2, 5, 33], "weight"),
    ...layerNormPair("odd width", [2, 5, 33], "weight only"),
    ...layerNormPair("odd width", [2, 5, 33], "modulate"),
    ...layerNormPair("odd offsets", [3, 4, 17], "modulate", normal(), { lead: 3 }),
    ...layerNormPair("odd offsets", [3, 4, 17], "weight", normal(), { lead: 5 }),
    ...layerNormPair("many tokens", [2, 130, 64], "modulate"),
    // One by one in float32, the mean would be 1e-4 off.
    ...layerNormPair("a long row far from zero", [1, 1, 300_000], "plain", cycle([999, 1001])),
    ...layerNormPair("many tokens", [2, 130, 64], "weight"),
    ...layerNormPair("wide", [2, 3, 1152], "modulate"),
    ...layerNormPair("wide", [2, 3, 1152], "weight"),
    ...layerNormPair("very wide", [1, 2, 5000], "weight"),
    ...layerNormPair("many short rows", [1, 3000, 3], "weight"),
    ...layerNormPair("many samples", [70, 1, 20], "modulate"),
    ...layerNormPair("one row", [1, 1, 384], "modulate"),
    ...layerNormPair("mean of 100", [2, 6, 40], "plain", normal(1, 100), loose),
    ...layerNormPair("mean of 100", [2, 6, 40], "modulate", normal(1, 100), loose),
    ...layerNormPair("odd width", [2, 5, 33], "plain", normal(), {}, "f32", true, true),
    ...layerNormPair("many tokens", [2, 130, 64], "modulate", normal(), {}, "f32", true, true),
    ...layerNormPair("wide", [2, 3, 1152], "modulate", normal(), {}, "f32", false, true),
    ...layerNormPair("very long rows", [2, 2, 8800], "modulate", normal(), {}, "f32", true, true),
    ...layerNormPair(
      "odd offsets",
      [2, 9, 64],
      "modulate",
      normal(),
      { lead: 3 },
      "f16",
      true,
      true,
    ),
    ...([
      ["odd width", [2, 5, 33], "modulate", {}, "f32", true, true],
      ["odd width", [2, 5, 33], "plain", {}, "f32", true, false],
      ["many tokens", [2, 130, 64], "modulate", {}, "f32", true, true],
      ["wide", [2, 3, 1152], "modulate", {}, "f32", false, true],
      ["very long rows", [2, 2, 8800], "modulate", {}, "f32", true, true],
      ["odd offsets", [2, 9, 64], "modulate", { lead: 3 }, "f16", true, true],
    ] as const).flatMap(([name, shape, affine, options, dtype, centred, residual]) =>
      layerNormPair(name, shape, affine, normal(), options, dtype, centred, residual, true)
    ),
    gateGradCase([2, 5, 33]),
    gateGradCase([3, 130, 64]),
    gateGradCase([1, 70, 200], { lead: 3 }),
    gateGradCase([2, 300, 72], {}, "f16"),
    ...(["plain", "weight only", "modulate"] as const).flatMap((affine) => [
      ...layerNormPair("odd width", [2, 5, 33], affine, normal(1, 2), {}, "f32", false),
      ...layerNormPair("wide", [2, 3, 1152], affine, normal(1, 2), {}, "f32", false),
      ...layerNormPair("odd offsets", [2, 3, 64], affine, normal(), { lead: 3 }, "f16", false),
    ]),
    // Nothing but the bias may be left of a constant row, whatever rounding made of its mean.
    ...layerNormPair("constant rows", [2, 3, 33], "weight", cycle([0.1]), loose),
    ...(["plain", "weight", "modulate"] as const).flatMap((affine) => [
      ...layerNormPair("odd width", [2, 5, 33], affine, normal(), {}, "f16"),
      ...layerNormPair("odd offsets", [2, 3, 64], affine, normal(), { lead: 3 }, "f16"),
    ]),

    ...groupNormPair([2, 64, 35], 32, false),
    ...groupNormPair([2, 64, 35], 32, true),
    ...groupNormPair([1, 12, 16], 4, false),
    ...groupNormPair([3, 12, 17], 4, true),
    ...groupNormPair([3, 12, 17], 4, true, normal(), { lead: 3 }),
    ...groupNormPair([2, 6, 1], 3, true),
    ...groupNormPair([1, 1, 1], 1, false),
    ...groupNormPair([2, 5, 9], 1, true),
    ...groupNormPair([1, 32, 1024], 32, true),
    ...groupNormPair([1, 8, 4096], 4, true),
    ...groupNormPair([2, 32, 64], 32, true, normal(1, 50), loose),
    ...groupNormPair([3, 12, 17], 4, true, normal(), {}, "f16"),
    ...groupNormPair([3, 12, 17], 4, false, normal(), { lead: 3 }, "f16"),
  ];
}
