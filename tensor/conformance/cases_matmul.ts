import type { Activation } from "../kernels.ts";
import {
  type CaseOptions,
  type ConformanceCase,
  conformanceCase,
  normal,
  permuted,
  Random,
  repeated,
  window,
} from "./fixture.ts";
import type { DType } from "../dtype.ts";
import { program } from "../expr.ts";

/** What a matrix product of the suite may vary. */
interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Batch dimensions [B, C]; [1, 1] unless given. */
  readonly batch?: readonly [number, number];
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  /** Batch dimensions along which an operand repeats. */
  readonly repeatA?: readonly number[];
  readonly repeatB?: readonly number[];
  readonly bias?: boolean;
  readonly activation?: Activation;
  readonly activationA?: Activation;
  readonly activationB?: Activation;
  readonly pre?: boolean;
  readonly accumulate?: boolean;
  /** Whether the result is combined with another array. */
  readonly combine?: boolean;
  /** Whether rows of a are summed up. */
  readonly sums?: boolean;
  /** Rows of `out` (and of a and b) have this many unused elements after them. */
  readonly gap?: number;
  readonly types?: {
    a?: DType;
    b?: DType;
    bias?: DType;
    out?: DType;
    pre?: DType;
    operand?: DType;
  };
}

function product(name: string, p: Product, options: CaseOptions = {}): ConformanceCase {
  const [B, C] = p.batch ?? [1, 1];
  const { m, n, k, types = {}, gap = 0 } = p;
  const half = Object.values(types).includes("f16");
  const outHalf = types.out === "f16" || types.pre === "f16";
  return conformanceCase("matmul", name, {
    cost: B * C * m * n * k,
    half,
    tolerance: { scaled: outHalf ? 1e-3 : 1e-5 },
    ...options,
  }, (f) => {
    const operand = (
      rows: number,
      columns: number,
      transposed: boolean | undefined,
      repeat: readonly number[] | undefined,
      type: DType | undefined,
    ) => {
      const shape = [B, C, rows, columns];
      const layout = transposed
        ? permuted(shape, [0, 1, 3, 2])
        : repeat
        ? repeated(shape, repeat)
        : gap
        ? window([B, C, rows, columns + gap], [0, 0, 0, 0])
        : undefined;
      return f.input(shape, normal(), type ?? "f32", layout);
    };
    const shape = [B, C, m, n];
    const outLayout = gap ? window([B, C, m, n + gap], [0, 0, 0, 0]) : undefined;
    const outType = types.out ?? "f32";
    return {
      a: operand(m, k, p.transposeA, p.repeatA, types.a),
      b: operand(k, n, p.transposeB, p.repeatB, types.b),
      activationA: p.activationA ?? "none",
      activationB: p.activationB ?? "none",
      bias: p.bias ? f.input([n], normal(), types.bias ?? "f32") : null,
      activation: p.activation ?? "none",
      pre: p.pre ? f.output("pre", shape, types.pre ?? outType) : null,
      combine: p.combine ? SLOPED : null,
      operand: p.combine ? f.input(shape, normal(), types.operand ?? "f32") : null,
      sums: p.sums ? f.output("sums", [B, C, m]) : null,
      out: p.accumulate
        ? f.changed("out", shape, normal(), outType, outLayout)
        : f.output("out", shape, outType, outLayout),
      accumulate: p.accumulate ?? false,
    };
  });
}

/** x times what SiLU's slope begins like: neither symmetrical nor linear. */
const SLOPED = program(
  "sloped",
  [{ kind: "input", ty: "f32" }, { kind: "input", ty: "f32" }],
  (x, y) => x!.mul(y!.sigmoid().add(y!)),
);

/** Matrix products. */
export function matmulCases(): ConformanceCase[] {
  const cases: ConformanceCase[] = [];
  const sizes = [
    [1, 1, 1],
    [1, 33, 17],
    [17, 1, 33],
    [17, 33, 1],
    [17, 33, 29],
    [5, 7, 257],
    [6, 16, 16],
    [7, 17, 15],
    [48, 8, 4],
    [64, 64, 64],
    [65, 3, 128],
    [63, 65, 31],
    [97, 130, 66],
    [128, 96, 256],
    [100, 100, 257],
    [50, 70, 401],
    [193, 129, 70],
    [3, 500, 20],
    [400, 5, 30],
    [2, 3, 5000],
  ] as const;
  for (const [m, n, k] of sizes) cases.push(product(`${m}x${k} . ${k}x${n}`, { m, n, k }));
  for (const [m, n, k] of [[17, 33, 29], [64, 96, 64], [70, 49, 260], [1, 40, 33]] as const) {
    const size = `${m}x${k} . ${k}x${n}`;
    cases.push(
      product(`${size}, a transposed`, { m, n, k, transposeA: true }),
      product(`${size}, b transposed`, { m, n, k, transposeB: true }),
      product(`${size}, both transposed`, { m, n, k, transposeA: true, transposeB: true }),
      product(`${size}, accumulating`, { m, n, k, accumulate: true }),
      product(`${size}, odd offsets`, { m, n, k }, { lead: 3 }),
      product(`${size}, odd offsets and row gaps`, { m, n, k, gap: 5 }, { lead: 1 }),
    );
  }
  for (const activation of ["none", "relu", "silu", "gelu", "geluTanh"] as const) {
    const p = { n: 33, k: 20, activation, bias: true };
    cases.push(
      product(`bias and ${activation}`, { m: 19, ...p }),
      product(`bias and ${activation}, kept before`, { m: 70, ...p, pre: true }),
    );
  }
  cases.push(
    product("activation without bias", { m: 9, n: 12, k: 7, activation: "silu", pre: true }),
    product("bias added to what is there", { m: 9, n: 21, k: 7, bias: true, accumulate: true }),
    product("a linear layer of 4 tokens of 384", {
      m: 4,
      n: 200,
      k: 384,
      transposeB: true,
      bias: true,
    }),
    product("a weight gradient accumulating", {
      m: 40,
      n: 50,
      k: 300,
      transposeA: true,
      accumulate: true,
    }),
    product("long K, large enough to split over threads", { m: 130, n: 70, k: 1000 }),
    product("into a window with long rows", { m: 20, n: 30, k: 40, gap: 30 }),
  );
  for (const [m, n, k] of [[40, 50, 300], [17, 33, 29], [130, 66, 1000]] as const) {
    const size = { m, n, k, sums: true };
    cases.push(
      product(`${m}x${k} . ${k}x${n}, summing rows that lie apart`, { ...size, transposeA: true }),
      product(`${m}x${k} . ${k}x${n}, combined, summing rows`, { ...size, combine: true }),
    );
  }
  cases.push(
    product("combined after an activation", {
      m: 19,
      n: 33,
      k: 20,
      bias: true,
      activation: "silu",
      pre: true,
      combine: true,
    }),
    product("batches combined and summed, row gaps", {
      m: 9,
      n: 12,
      k: 40,
      batch: [2, 3],
      gap: 4,
      combine: true,
      sums: true,
    }),
    product("f16 combined and summed", {
      m: 33,
      n: 20,
      k: 70,
      transposeA: true,
      combine: true,
      sums: true,
      types: { a: "f16", b: "f16", operand: "f16", out: "f16" },
    }),
  );
  const through = { activationA: "geluTanh", activationB: "silu" } as const;
  for (const activation of ["relu", "silu", "gelu", "geluTanh"] as const) {
    const size = { m: 19, n: 33, k: 21 };
    cases.push(product(`a through ${activation}`, { ...size, activationA: activation }));
  }
  cases.push(
    product("b through geluTanh, summing rows", {
      m: 40,
      n: 50,
      k: 300,
      activationB: "geluTanh",
      transposeA: true,
      sums: true,
    }),
    product("both through activations, long K", { m: 130, n: 66, k: 1000, ...through }),
    product("both through activations, transposed, row gaps", {
      m: 5,
      n: 7,
      k: 257,
      ...through,
      transposeA: true,
      transposeB: true,
      gap: 3,
    }, { lead: 1 }),
    product("f16, both through activations", {
      m: 48,
      n: 64,
      k: 64,
      ...through,
      activation: "silu",
      bias: true,
      types: { a: "f16", b: "f16" },
    }),
  );
  const batch = [2, 3] as const;
  const b = { m: 17, n: 9, k: 33, batch };
  cases.push(
    product("two batch dimensions", b),
    product("two batch dimensions, row gaps", { ...b, gap: 3 }),
    product("two batch dimensions, accumulating", { ...b, accumulate: true }),
    product("two batch dimensions, b transposed", { ...b, transposeB: true }),
    product("two batch dimensions, a transposed", { ...b, transposeA: true }),
    product("two batch dimensions, odd offsets", b, { lead: 7 }),
    product("b shared by the batch", { ...b, repeatB: [0, 1] }),
    product("a shared by the batch", { ...b, repeatA: [0, 1] }),
    product("b shared by the outer dimension", { ...b, repeatB: [0] }),
    product("b shared by the inner dimension", { ...b, repeatB: [1] }),
    product("bias, activation and pre in a batch", {
      ...b,
      bias: true,
      activation: "geluTanh",
      pre: true,
    }),
    product("70 small products", { m: 5, n: 6, k: 7, batch: [7, 10] }),
    product("1 by 300 batches of one element", { m: 1, n: 1, k: 1, batch: [1, 300] }),
    headsCase(),
    ...randomProducts(),
  );
  const f16 = "f16" as const;
  for (const [m, n, k] of [[17, 33, 29], [64, 128, 96], [1, 1, 1], [70, 50, 300]] as const) {
    const size = `${m}x${k} . ${k}x${n}`;
    const all = { a: f16, b: f16, bias: f16, out: f16, pre: f16 };
    cases.push(
      product(`f16 ${size}`, { m, n, k, bias: true, types: all }),
      product(`f16 ${size} to f32`, { m, n, k, bias: true, types: { a: f16, b: f16 } }),
      product(`f16 ${size}, a f32`, { m, n, k, types: { b: f16, out: f16 } }),
      product(`f16 ${size}, b f32`, { m, n, k, types: { a: f16 } }),
      product(`f16 ${size}, both transposed`, {
        m,
        n,
        k,
        transposeA: true,
        transposeB: true,
        types: all,
      }),
      product(`f16 ${size}, silu, pre and odd offsets`, {
        m,
        n,
        k,
        bias: true,
        activation: "silu",
        pre: true,
        types: all,
      }, { lead: 3 }),
      product(`f16 ${size}, accumulating f32`, {
        m,
        n,
        k,
        accumulate: true,
        types: { a: f16, b: f16 },
      }),
    );
  }
  cases.push(
    product("f32 to f16", { m: 17, n: 33, k: 20, types: { out: f16 } }),
    product("f16 two batch dimensions with row gaps", {
      ...b,
      gap: 3,
      types: { a: f16, b: f16, out: f16 },
    }),
  );
  return cases;
}

/** Random sizes, layouts and endings. */
function randomProducts(): ConformanceCase[] {
  const random = new Random("products");
  const below = (limit: number) => random.bits() % limit;
  const coin = () => below(2) === 0;
  return Array.from({ length: 40 }, (_, i) => {
    const [m, n, k] = [1 + below(100), 1 + below(100), 1 + below(100)];
    const batch = coin() ? [1, 1] as const : [1 + below(3), 1 + below(3)] as const;
    const accumulate = below(4) === 0;
    return product(`random ${i}: [${batch}] ${m}x${k} . ${k}x${n}`, {
      m,
      n,
      k,
      batch,
      accumulate,
      transposeA: coin(),
      transposeB: coin(),
      ...(coin() ? { gap: 1 + below(9) } : {}),
      bias: coin(),
      pre: !accumulate && coin(),
      activation: accumulate ? "none" : (["none", "relu", "silu", "gelu"] as const)[below(4)]!,
    }, { lead: [64, 0, 1, 2, 3][below(5)]! });
  });
}

/** q . kT of heads that lie interleaved in [B, T, heads, D], as a fused qkv projection leaves them. */
function headsCase(): ConformanceCase {
  const [B, T, H, D] = [2, 18, 3, 8];
  return conformanceCase("matmul", "heads interleaved in memory", { cost: 50_000 }, (f) => {
    const heads = permuted([B, H, T, D], [0, 2, 1, 3]);
    const q = f.input([B, H, T, D], normal(), "f32", heads);
    const k = f.input([B, H, D, T], normal(), "f32", permuted([B, H, D, T], [0, 3, 1, 2]));
    const out = f.output("out", [B, H, T, T]);
    return { a: q, b: k, bias: null, activation: "none", pre: null, out, accumulate: false };
  });
}
