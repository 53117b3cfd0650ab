/**
 * Elementwise kernels as data. An op writes its formula once, as an expression over its inputs;
 * each backend turns the expression into its own code (SIMD WebAssembly, WGSL, or plain float64
 * arithmetic in the reference). Forward, gradient, random number and optimiser kernels are all
 * made this way, so a new elementwise op is one row and no kernel.
 *
 * Expressions are graphs, not trees: a node used twice is evaluated once.
 */
import { isDebug } from "./debug.ts";
import { type DType, isFloat } from "./dtype.ts";

/** What a value is while it is computed with; f16 computes as f32, u8 as u32. */
export type Ty = "f32" | "i32" | "u32" | "bool";

/** Operations on one value; {@link Expr} has a method for each that says what it does. */
export type UnaryOp =
  /** any arithmetic type */
  | "neg"
  | "abs"
  /** f32 */
  | "sqrt"
  | "floor"
  /** nearest whole number, halves to even */
  | "round"
  /** 2^x */
  | "exp2"
  | "log2"
  /** radians, right for any finite f32 argument (range is reduced) */
  | "sin"
  | "cos"
  | "erf"
  /** bool */
  | "not";

/** Operations on two values of one type, the type of the result. */
export type BinaryOp =
  /** f32, i32, u32 */
  | "add"
  | "sub"
  | "mul"
  /** f32, i32, u32; a NaN operand gives NaN */
  | "min"
  | "max"
  /** f32 */
  | "div"
  /** i32, u32; `shr` keeps the sign of an i32; the shift is a constant */
  | "and"
  | "or"
  | "xor"
  | "shl"
  | "shr"
  /** u32: the high 32 bits of the 64-bit product */
  | "mulhi";

/** Comparisons of two values of one type. */
export type CompareOp = "lt" | "le" | "gt" | "ge" | "eq" | "ne";

/** One node of an expression. */
export type Node =
  /** element of the `i`-th input */
  | { readonly kind: "input"; readonly index: number; readonly ty: Ty }
  /** the `i`-th number given at launch */
  | { readonly kind: "scalar"; readonly index: number; readonly ty: Ty }
  | { readonly kind: "const"; readonly value: number; readonly ty: Ty }
  /** row-major index of the element in the output */
  | { readonly kind: "index"; readonly ty: "u32" }
  | { readonly kind: "unary"; readonly op: UnaryOp; readonly a: Expr; readonly ty: Ty }
  | {
    readonly kind: "binary";
    readonly op: BinaryOp;
    readonly a: Expr;
    readonly b: Expr;
    readonly ty: Ty;
  }
  | {
    readonly kind: "compare";
    readonly op: CompareOp;
    readonly a: Expr;
    readonly b: Expr;
    readonly ty: "bool";
  }
  | {
    readonly kind: "select";
    readonly cond: Expr;
    readonly a: Expr;
    readonly b: Expr;
    readonly ty: Ty;
    /** Set where `a` is seldom taken and dear: code that can branch computes it only then. */
    readonly rarely?: true;
  }
  /** a number of another type: f32 to integer cuts towards zero, bool is 0 or 1, not 0 is true */
  | { readonly kind: "convert"; readonly a: Expr; readonly ty: Ty }
  /** the same 32 bits read as another type (f32, i32, u32) */
  | { readonly kind: "bitcast"; readonly a: Expr; readonly ty: Ty };

/** An expression, or a number that takes the type of its partner. */
export type ExprLike = Expr | number;

/** A value computed from others. Methods build; nothing is evaluated here. */
export class Expr {
  /** Wraps one node; formulas begin with the operands they are given instead. */
  constructor(readonly node: Node) {}

  /** Type of the value. */
  get ty(): Ty {
    return this.node.ty;
  }

  #lift(x: ExprLike): Expr {
    if (typeof x === "number") return constant(x, this.ty);
    if (x.ty !== this.ty) {
      throw new TypeError(
        `expression: expected operands of one type but got ${this.ty} and ${x.ty}; convert one`,
      );
    }
    return x;
  }
  #unary(op: UnaryOp): Expr {
    return new Expr({ kind: "unary", op, a: this, ty: this.ty });
  }
  #binary(op: BinaryOp, b: ExprLike): Expr {
    return new Expr({ kind: "binary", op, a: this, b: this.#lift(b), ty: this.ty });
  }
  #compare(op: CompareOp, b: ExprLike): Expr {
    return new Expr({ kind: "compare", op, a: this, b: this.#lift(b), ty: "bool" });
  }

  /** -x, of any arithmetic type. */
  neg(): Expr {
    return this.#unary("neg");
  }
  /** |x|, of any arithmetic type. */
  abs(): Expr {
    return this.#unary("abs");
  }
  /** Square root of an f32; NaN below 0. */
  sqrt(): Expr {
    return this.#unary("sqrt");
  }
  /** The largest whole number at or below an f32. */
  floor(): Expr {
    return this.#unary("floor");
  }
  /** The nearest whole number to an f32, halves to the even one. */
  round(): Expr {
    return this.#unary("round");
  }
  /** 2^x of an f32. */
  exp2(): Expr {
    return this.#unary("exp2");
  }
  /** Base-2 logarithm of an f32. */
  log2(): Expr {
    return this.#unary("log2");
  }
  /** Sine of an f32 in radians, right for any finite number. */
  sin(): Expr {
    return this.#unary("sin");
  }
  /** Cosine of an f32 in radians, right for any finite number. */
  cos(): Expr {
    return this.#unary("cos");
  }
  /** Error function of an f32. */
  erf(): Expr {
    return this.#unary("erf");
  }
  /** The other truth value of a bool. */
  not(): Expr {
    return this.#unary("not");
  }

  /** Sum; integers wrap around. */
  add(b: ExprLike): Expr {
    return this.#binary("add", b);
  }
  /** Difference; integers wrap around. */
  sub(b: ExprLike): Expr {
    return this.#binary("sub", b);
  }
  /** Product; integers keep the low 32 bits. */
  mul(b: ExprLike): Expr {
    return this.#binary("mul", b);
  }
  /** Quotient of two f32. */
  div(b: ExprLike): Expr {
    return this.#binary("div", b);
  }
  /** The smaller of two numbers; NaN where either is. */
  min(b: ExprLike): Expr {
    return this.#binary("min", b);
  }
  /** The larger of two numbers; NaN where either is. */
  max(b: ExprLike): Expr {
    return this.#binary("max", b);
  }
  /** Bitwise and of two integers. */
  and(b: ExprLike): Expr {
    return this.#binary("and", b);
  }
  /** Bitwise or of two integers. */
  or(b: ExprLike): Expr {
    return this.#binary("or", b);
  }
  /** Bitwise exclusive or of two integers. */
  xor(b: ExprLike): Expr {
    return this.#binary("xor", b);
  }
  /** An integer moved up by a constant number of bits. */
  shl(bits: number): Expr {
    return this.#binary("shl", bits);
  }
  /** An integer moved down by a constant number of bits; an i32 keeps its sign. */
  shr(bits: number): Expr {
    return this.#binary("shr", bits);
  }
  /** The high 32 bits of the 64-bit product of two u32. */
  mulhi(b: ExprLike): Expr {
    return this.#binary("mulhi", b);
  }

  /** Whether this < b, a bool. */
  lt(b: ExprLike): Expr {
    return this.#compare("lt", b);
  }
  /** Whether this <= b, a bool. */
  le(b: ExprLike): Expr {
    return this.#compare("le", b);
  }
  /** Whether this > b, a bool. */
  gt(b: ExprLike): Expr {
    return this.#compare("gt", b);
  }
  /** Whether this >= b, a bool. */
  ge(b: ExprLike): Expr {
    return this.#compare("ge", b);
  }
  /** Whether both are the same number, a bool; `x.eq(x)` is false for NaN. */
  eq(b: ExprLike): Expr {
    return this.#compare("eq", b);
  }
  /** Whether the numbers differ, a bool; `x.ne(x)` is true for NaN. */
  ne(b: ExprLike): Expr {
    return this.#compare("ne", b);
  }

  /** `a` where this (a bool) is true, else `b`; at least one of them an expression. */
  select(a: ExprLike, b: ExprLike): Expr {
    const like = typeof a === "number" ? b : a;
    if (typeof like === "number") {
      throw new TypeError("select: expected at least one expression but got two numbers");
    }
    const x = typeof a === "number" ? constant(a, like.ty) : a;
    const y = typeof b === "number" ? constant(b, like.ty) : b;
    if (x.ty !== y.ty) {
      throw new TypeError(`select: expected values of one type but got ${x.ty} and ${y.ty}`);
    }
    return new Expr({ kind: "select", cond: this, a: x, b: y, ty: like.ty });
  }
  /** {@link select} for an `a` that is seldom taken: code that can branch computes it only then. */
  selectRarely(a: Expr, b: Expr): Expr {
    const { node } = this.select(a, b);
    return node.kind === "select" ? new Expr({ ...node, rarely: true }) : this;
  }
  /** The same number as another type: f32 to integer cuts towards zero, bool is 0 or 1, not 0 is true. */
  to(ty: Ty): Expr {
    return ty === this.ty ? this : new Expr({ kind: "convert", a: this, ty });
  }
  /** The same 32 bits read as another type. */
  bits(ty: "f32" | "i32" | "u32"): Expr {
    return ty === this.ty ? this : new Expr({ kind: "bitcast", a: this, ty });
  }

  /** e^x */
  exp(): Expr {
    return this.mul(Math.LOG2E).exp2();
  }
  /** Natural logarithm. */
  log(): Expr {
    return this.log2().mul(Math.LN2);
  }
  /** 1 / (1 + e^-x), without overflow. */
  sigmoid(): Expr {
    return constant(1).div(this.mul(-Math.LOG2E).exp2().add(1));
  }
  /** Whether the value is an infinity or NaN, by its bits: GPUs may assume there are none. */
  isNonFinite(): Expr {
    return this.bits("u32").and(0x7f800000).eq(0x7f800000);
  }
}

/** The constant `value`. */
export function constant(value: number, ty: Ty = "f32"): Expr {
  return new Expr({ kind: "const", value, ty });
}
/** Row-major index of the element being computed, as u32. */
export function elementIndex(): Expr {
  return new Expr({ kind: "index", ty: "u32" });
}

/** The type a stored element computes as. */
export function computeType(dtype: DType): Ty {
  return isFloat(dtype) ? "f32" : dtype === "i32" ? "i32" : "u32";
}

/** What stands in one argument place of a program: an input array or a number given at launch. */
export type Slot = { readonly kind: "input" | "scalar"; readonly ty: Ty };

/**
 * A compiled-once elementwise kernel: `outs[k]` of each element from the inputs and scalars. Only
 * {@link program} makes them: one for each formula and list of slot types.
 */
export class Program {
  /** Unlike that of any other formula: backends keep compiled code under it. */
  readonly key: string;

  private constructor(
    serial: number,
    /** What the formula was called when it was first seen; for profiles and errors only. */
    readonly name: string,
    /** What each input array computes as. */
    readonly inputs: readonly Ty[],
    /** Types of the numbers given at launch. */
    readonly scalars: readonly Ty[],
    /** One expression a result; a bool is stored as 0 or 1. */
    readonly outs: readonly Expr[],
  ) {
    this.key = `${name}#${serial}`;
  }

  static readonly #known = new Map<string, Program>();

  /** The program of these outputs: the same one for the same graph, whichever function built it. */
  static of(
    name: string,
    inputs: readonly Ty[],
    scalars: readonly Ty[],
    outs: readonly Expr[],
  ): Program {
    const text = `${inputs.join()};${scalars.join()};${graphText(outs)}`;
    let found = Program.#known.get(text);
    if (!found) {
      found = new Program(Program.#known.size, name, inputs, scalars, outs);
      Program.#known.set(text, found);
    }
    return found;
  }
}

/** All that decides what a graph computes, as text; constants to the last bit. */
function graphText(outs: readonly Expr[]): string {
  const numbers = new Map<Expr, number>();
  const lines: string[] = [];
  const numberOf = (expr: Expr): number => {
    const known = numbers.get(expr);
    if (known !== undefined) return known;
    const line = nodeText(expr.node, numberOf);
    numbers.set(expr, lines.push(line) - 1);
    return lines.length - 1;
  };
  const places = outs.map(numberOf);
  return `${lines.join(";")};${places.join()}`;
}

function nodeText(node: Node, numberOf: (expr: Expr) => number): string {
  switch (node.kind) {
    case "input":
    case "scalar":
      return `${node.kind} ${node.index} ${node.ty}`;
    case "const":
      return `${Object.is(node.value, -0) ? "-0" : node.value} ${node.ty}`;
    case "index":
      return "index";
    case "unary":
      return `${node.op} ${numberOf(node.a)} ${node.ty}`;
    case "binary":
    case "compare":
      return `${node.op} ${numberOf(node.a)} ${numberOf(node.b)} ${node.ty}`;
    case "select":
      return `select${node.rarely ? "Rarely" : ""} ${numberOf(node.cond)} ${numberOf(node.a)} ${
        numberOf(node.b)
      } ${node.ty}`;
    case "convert":
    case "bitcast":
      return `${node.kind} ${numberOf(node.a)} ${node.ty}`;
    default:
      return node satisfies never;
  }
}

/** Builds a formula: one expression a result, from one expression a slot. */
type Build = (...args: Expr[]) => Expr | Expr[];

/** What a function has built before. */
const built = new WeakMap<Build, { slots: readonly Slot[]; made: Program }[]>();

function sameSlots(a: readonly Slot[], b: readonly Slot[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    if (a[i]!.kind !== b[i]!.kind || a[i]!.ty !== b[i]!.ty) return false;
  }
  return true;
}

/**
 * The program that `build` makes for these slots; it gets one expression a slot and returns one an
 * output. It is called once for each list of slots, so it must build the same every time: a
 * function that lasts is looked up, one made for each call is built anew at each.
 *
 * @param name says what it is in profiles and errors; nothing is looked up by it
 */
export function program(name: string, slots: readonly Slot[], build: Build): Program {
  let list = built.get(build);
  if (!list) built.set(build, list = []);
  for (const entry of list) {
    if (!sameSlots(entry.slots, slots)) continue;
    if (isDebug() && buildProgram(name, slots, build) !== entry.made) {
      throw new Error(
        `formula ${name}: expected the function to build what it built before but it has changed; ` +
          "give each formula a function of its own",
      );
    }
    return entry.made;
  }
  const made = buildProgram(name, slots, build);
  list.push({ slots: slots.slice(), made });
  return made;
}

function buildProgram(name: string, slots: readonly Slot[], build: Build): Program {
  const inputs: Ty[] = [];
  const scalars: Ty[] = [];
  const args = slots.map(({ kind, ty }) => {
    const list = kind === "input" ? inputs : scalars;
    list.push(ty);
    return new Expr({ kind, index: list.length - 1, ty });
  });
  const results = build(...args);
  const outs = (Array.isArray(results) ? results : [results]).map((out) =>
    out.ty === "bool" ? out.to("u32") : out
  );
  return Program.of(name, inputs, scalars, outs);
}
