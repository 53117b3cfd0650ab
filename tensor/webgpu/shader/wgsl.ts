/** Elementwise programs as WGSL, and the little functions that kernels share. */
import type { Expr, Node, Program, Ty } from "../../expr.ts";
import { cos, erf, sin } from "../../lower.ts";

/**
 * Functions that stand before every kernel made from a program. Some compilers (Metal's, by
 * default) assume that there is no NaN and reorder sums, and WGSL has no way to forbid it:
 * - NaN is recognised by its bits, and minimum and maximum, which here let a NaN win, choose bits.
 * - Numbers that are not finite are made at run time, as WGSL allows no such constants.
 * - `opaque` gives its argument back through a detour no compiler can see through.
 */
export const PRELUDE = `
fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn or_nan(x: f32, a: f32, b: f32) -> f32 {
  let bits = select(bitcast<u32>(x), bitcast<u32>(b), is_nan(b));
  return bitcast<f32>(select(bits, bitcast<u32>(a), is_nan(a)));
}
fn max_nan(a: f32, b: f32) -> f32 { return or_nan(max(a, b), a, b); }
fn min_nan(a: f32, b: f32) -> f32 { return or_nan(min(a, b), a, b); }
fn opaque(x: f32) -> f32 {
  return bitcast<f32>(select(bitcast<u32>(x), 0u, params.grid_width == 0u));
}
fn from_bits(bits: u32) -> f32 {
  return bitcast<f32>(select(bits, 0u, params.grid_width == 0u));
}
fn mulhi(a: u32, b: u32) -> u32 {
  let a0 = a & 0xffffu; let a1 = a >> 16u;
  let b0 = b & 0xffffu; let b1 = b >> 16u;
  let low = a0 * b0;
  let mid = a1 * b0 + (low >> 16u);
  let mid2 = a0 * b1 + (mid & 0xffffu);
  return a1 * b1 + (mid >> 16u) + (mid2 >> 16u);
}
`;

/** The number as WGSL of type `ty`. */
export function literal(value: number, ty: Ty): string {
  switch (ty) {
    case "bool":
      return value ? "true" : "false";
    case "i32":
      return `i32(${value | 0})`;
    case "u32":
      return `${value >>> 0}u`;
    case "f32": {
      const f = Math.fround(value);
      if (Number.isNaN(f)) return "from_bits(0x7fc00000u)";
      if (!Number.isFinite(f)) return `from_bits(${f > 0 ? "0x7f800000u" : "0xff800000u"})`;
      if (Object.is(f, -0)) return "from_bits(0x80000000u)";
      return f < 0 ? `(${f}f)` : `${f}f`;
    }
    default:
      return ty satisfies never;
  }
}

/** Name of the uniform that holds scalar `i` of a program. */
function scalarName(i: number): string {
  return `s${i}`;
}

/** The uniforms of a program's scalars, by type. */
export function scalarUniforms(
  program: Program,
  scalars: readonly number[],
): { u32: Record<string, number>; i32: Record<string, number>; f32: Record<string, number> } {
  const uniforms = { u32: {}, i32: {}, f32: {} } as Record<
    "u32" | "i32" | "f32",
    Record<
      string,
      number
    >
  >;
  for (let i = 0; i < program.scalars.length; i++) {
    const ty = program.scalars[i]!;
    uniforms[ty === "bool" ? "u32" : ty][scalarName(i)] = scalars[i]!;
  }
  return uniforms;
}

/** Type of the value `compute` gives for output `k` of a program; bool is stored as u32. */
export function outType(program: Program, k: number): "f32" | "i32" | "u32" {
  const { ty } = program.outs[k]!;
  return ty === "bool" ? "u32" : ty;
}

/**
 * `struct Outs { o0: ..., o1: ... }` and `fn compute(index: u32, x0: ..., x1: ...) -> Outs`: every
 * output of the program for one element.
 */
export function programSource(program: Program): string {
  const writer = new Writer(program);
  const results = program.outs.map((out) => {
    const value = writer.emit(out);
    return out.ty === "bool" ? `u32(${value})` : value;
  });
  const params = ["index: u32", ...program.inputs.map((ty, i) => `x${i}: ${storedType(ty)}`)];
  return [
    `struct Outs { ${program.outs.map((_, k) => `o${k}: ${outType(program, k)}`).join(", ")} }`,
    `fn compute(${params.join(", ")}) -> Outs {`,
    ...writer.lines.map((line) => `  ${line}`),
    `  return Outs(${results.join(", ")});`,
    "}",
    "",
  ].join("\n");
}

/** What a value of type `ty` is when it comes from an array. */
function storedType(ty: Ty): string {
  return ty === "bool" ? "u32" : ty;
}

/** Turns a graph of expressions into a list of `let`s, each node once. */
class Writer {
  readonly lines: string[] = [];
  readonly #names = new Map<Node, string>();
  /** Whether sums must be computed in the order they are written. */
  #strict = false;

  constructor(readonly program: Program) {}

  emit(expr: Expr): string {
    const known = this.#names.get(expr.node);
    if (known !== undefined) return known;
    const text = this.#text(expr.node);
    let name = text;
    if (!isLeaf(expr.node)) {
      name = `t${this.lines.length}`;
      this.lines.push(`let ${name} = ${text};`);
    }
    this.#names.set(expr.node, name);
    return name;
  }

  /** Emits `lower(a)`, whose accuracy depends on the order of its sums. */
  #emitStrictly(a: Expr, lower: (a: Expr) => Expr): string {
    this.emit(a);
    this.#strict = true;
    const value = this.emit(lower(a));
    this.#strict = false;
    return value;
  }

  #text(node: Node): string {
    switch (node.kind) {
      case "input":
        return node.ty === "bool" ? `(x${node.index} != 0u)` : `x${node.index}`;
      case "scalar": {
        const value = `params.${scalarName(node.index)}`;
        return node.ty === "bool" ? `(${value} != 0u)` : value;
      }
      case "const":
        return literal(node.value, node.ty);
      case "index":
        return "index";
      case "unary":
        return this.#unary(node);
      case "binary":
        return this.#binary(node);
      case "compare":
        return this.#compare(node);
      case "select":
        if (node.rarely) return this.#selectRarely(node);
        return `select(${this.emit(node.b)}, ${this.emit(node.a)}, ${this.emit(node.cond)})`;
      case "convert":
        return `${node.ty}(${this.emit(node.a)})`;
      case "bitcast":
        return `bitcast<${node.ty}>(${this.emit(node.a)})`;
      default:
        return node satisfies never;
    }
  }

  #unary(node: Node & { kind: "unary" }): string {
    const { op, a } = node;
    switch (op) {
      case "neg":
        return a.ty === "u32" ? `0u - ${this.emit(a)}` : `-${this.emit(a)}`;
      case "not":
        return `!${this.emit(a)}`;
      case "sin":
        return this.#emitStrictly(a, sin);
      case "cos":
        return this.#emitStrictly(a, cos);
      case "erf":
        return this.#emitStrictly(a, erf);
      case "abs":
      case "sqrt":
      case "floor":
      case "round":
      case "exp2":
      case "log2":
        return `${op}(${this.emit(a)})`;
      default:
        return op satisfies never;
    }
  }

  /** A branch, so that what is seldom needed is seldom computed. */
  #selectRarely({ cond, a, b, ty }: Node & { kind: "select" }): string {
    const [usual, condition] = [this.emit(b), this.emit(cond)];
    const name = `r${this.lines.length}`;
    this.lines.push(`var ${name}: ${storedType(ty)} = ${usual};`, `if (${condition}) {`);
    const before = new Set(this.#names.keys());
    this.lines.push(`${name} = ${this.emit(a)};`, "}");
    for (const node of this.#names.keys()) if (!before.has(node)) this.#names.delete(node);
    return name;
  }

  #compare({ op, a, b }: Node & { kind: "compare" }): string {
    // A compiler that knows no NaN would take x == x for true.
    if (a.node === b.node && a.ty === "f32" && (op === "eq" || op === "ne")) {
      return `${op === "eq" ? "!" : ""}is_nan(${this.emit(a)})`;
    }
    return `${this.emit(a)} ${COMPARE[op]} ${this.emit(b)}`;
  }

  #binary(node: Node & { kind: "binary" }): string {
    const { op } = node;
    const a = this.emit(node.a);
    const float = node.ty === "f32";
    switch (op) {
      case "min":
      case "max":
        return `${op}${float ? "_nan" : ""}(${a}, ${this.emit(node.b)})`;
      case "mulhi":
        return `mulhi(${a}, ${this.emit(node.b)})`;
      case "shl":
      case "shr":
        return `${a} ${op === "shl" ? "<<" : ">>"} u32(${this.emit(node.b)})`;
      case "xor":
        return `${a} ${node.ty === "bool" ? "!=" : "^"} ${this.emit(node.b)}`;
      case "add":
      case "sub":
      case "mul":
      case "div":
      case "and":
      case "or": {
        const value = `${a} ${BINARY[op]} ${this.emit(node.b)}`;
        return this.#strict && float && (op === "add" || op === "sub") ? `opaque(${value})` : value;
      }
      default:
        return op satisfies never;
    }
  }
}

const BINARY = { add: "+", sub: "-", mul: "*", div: "/", and: "&", or: "|" } as const;
const COMPARE = { lt: "<", le: "<=", gt: ">", ge: ">=", eq: "==", ne: "!=" } as const;

function isLeaf(node: Node): boolean {
  return node.kind === "input" || node.kind === "scalar" || node.kind === "const" ||
    node.kind === "index";
}
