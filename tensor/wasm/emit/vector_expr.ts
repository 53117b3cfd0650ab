/**
 * Turns elementwise expressions into SIMD code, four elements at a time.
 *
 * What does not change from element to element is not computed for each: nodes made of constants
 * and launch-time numbers are computed once a call, those that also use inputs repeated along a row
 * once a row. A node used twice is computed once.
 */
import type { Expr, Program, Ty } from "../../expr.ts";
import { cos, erf, sin } from "../../lower.ts";
import { type Func, V128 } from "./assembler.ts";
import { ARGS_PARAM } from "./abi.ts";
import { exp2, log2, type VectorContext } from "./vector_math.ts";

/** How often a value changes. */
const LAUNCH = 0, ROW = 1, ELEMENT = 2;
type Level = typeof LAUNCH | typeof ROW | typeof ELEMENT;

/** Programs of more nodes than this are unrolled less, and shared out in smaller pieces. */
export const HEAVY = 24;

/** Expressions a node is computed from. */
export function operandsOf({ node }: Expr): readonly Expr[] {
  switch (node.kind) {
    case "unary":
    case "convert":
    case "bitcast":
      return [node.a];
    case "binary":
    case "compare":
      return [node.a, node.b];
    case "select":
      return [node.cond, node.a, node.b];
    default:
      return [];
  }
}

const LOWERED = { sin, cos, erf } as const;

/** Emits one program's code into one function. */
export class VectorProgram {
  readonly #context: VectorContext;
  readonly #f: Func;
  readonly #outs: readonly Expr[];
  readonly #repeated: readonly boolean[];
  readonly #scalarSlot: number;
  readonly #scalars: readonly Ty[];
  readonly #levels = new Map<Expr, Level>();
  readonly #uses = new Map<Expr, number>();
  readonly #lowered = new Map<Expr, Expr>();
  /** Nodes that only a branch seldom taken needs. */
  readonly #seldom = new Set<Expr>();
  /** Locals of values that stay: of the launch and of the row. */
  readonly #lasting = new Map<Expr, number>();
  #elements = new Map<Expr, number>();
  #inputs: readonly number[] = [];
  #index = -1;

  /**
   * @param repeated for each input, whether it has one value along a row
   * @param scalarSlot argument slot of the first launch-time number
   */
  constructor(
    context: VectorContext,
    program: Program,
    repeated: readonly boolean[],
    scalarSlot: number,
  ) {
    this.#context = context;
    this.#f = context.f;
    this.#outs = program.outs;
    this.#repeated = repeated;
    this.#scalarSlot = scalarSlot;
    this.#scalars = program.scalars;
    for (const out of this.#outs) this.#visit(out);
  }

  /** Nodes computed for every four elements: a measure of how heavy the program is. */
  get weight(): number {
    let weight = 0;
    for (const [expr, level] of this.#levels) {
      if (level === ELEMENT && !this.#seldom.has(expr)) weight++;
    }
    return weight;
  }

  /** Whether elements need to know their row-major index. */
  get usesIndex(): boolean {
    return [...this.#levels.keys()].some(({ node }) => node.kind === "index");
  }

  #visit(expr: Expr, seldom = false): Level {
    this.#uses.set(expr, (this.#uses.get(expr) ?? 0) + 1);
    const known = this.#levels.get(expr);
    if (known !== undefined) return known;
    if (seldom) this.#seldom.add(expr);
    const { node } = expr;
    let level: Level = LAUNCH;
    if (node.kind === "input") level = this.#repeated[node.index] ? ROW : ELEMENT;
    else if (node.kind === "index") level = ELEMENT;
    else if (node.kind === "unary" && node.op in LOWERED) {
      const lowered = LOWERED[node.op as keyof typeof LOWERED](node.a);
      this.#lowered.set(expr, lowered);
      level = this.#visit(lowered, seldom);
    } else {
      for (const operand of operandsOf(expr)) {
        const rarely = node.kind === "select" && node.rarely && operand === node.a;
        const below = this.#visit(operand, seldom || rarely === true);
        if (below > level) level = below;
      }
    }
    this.#levels.set(expr, level);
    return level;
  }

  /**
   * Code for what holds along a row.
   *
   * @param inputs locals of the repeated inputs' values; others are not looked at
   */
  emitRow(inputs: readonly number[]): void {
    this.#inputs = inputs;
    const wanted = (expr: Expr) => this.#levels.get(expr) === ROW;
    for (const [expr, level] of this.#levels) {
      if (level !== ELEMENT) continue;
      const lowered = this.#lowered.get(expr);
      for (const operand of lowered ? [lowered] : operandsOf(expr)) {
        if (wanted(operand)) this.#local(operand);
      }
    }
    for (const out of this.#outs) if (wanted(out)) this.#local(out);
    this.#context.temporaries.releaseAll();
  }

  /**
   * Code for the next four elements.
   *
   * @param inputs locals of the inputs' values (repeated ones are not looked at)
   * @param index local of the elements' indices, where the program uses them
   * @returns locals of the outputs' values, good until temporaries are released
   */
  emitElements(inputs: readonly number[], index: number): number[] {
    this.#inputs = inputs;
    this.#index = index;
    this.#elements = new Map();
    return this.#outs.map((out) => this.#local(out));
  }

  /** The local that holds a value, computed here if it was not before. */
  #local(expr: Expr): number {
    const { node } = expr;
    const level = this.#levels.get(expr)!;
    if (node.kind === "input" && level === ELEMENT) return this.#inputs[node.index]!;
    if (node.kind === "index") return this.#index;
    if (node.kind === "const") {
      const { constants } = this.#context;
      if (node.ty === "f32") return constants.f32(node.value);
      return constants.i32(node.ty === "bool" ? -Number(node.value !== 0) : node.value);
    }
    const values = level === ELEMENT ? this.#elements : this.#lasting;
    let local = values.get(expr);
    if (local !== undefined) return local;
    local = level === ELEMENT ? this.#context.temporaries.take() : this.#f.local(V128);
    values.set(expr, local);
    const target = local;
    const compute = () => {
      this.#compute(expr);
      this.#f.set(target);
    };
    if (level === LAUNCH) this.#f.prologue(compute);
    else compute();
    return local;
  }

  /** Leaves the value of a node on the stack. */
  #compute(expr: Expr): void {
    const { node } = expr;
    const f = this.#f;
    const lowered = this.#lowered.get(expr);
    if (lowered) {
      f.get(this.#local(lowered));
      return;
    }
    // Operands first, each into its local; then this node's own instructions.
    switch (node.kind) {
      case "input":
        f.get(this.#inputs[node.index]!);
        return;
      case "scalar":
        this.#scalar(node.index);
        return;
      case "unary":
        this.#unary(node.op, node.ty, this.#local(node.a));
        return;
      case "binary":
        if (!this.#fused(node)) this.#binary(node);
        return;
      case "compare": {
        const a = this.#local(node.a), b = this.#local(node.b);
        f.get(a).get(b);
        if (node.a.ty === "f32") f.f32x4(node.op);
        else if (node.op === "eq" || node.op === "ne") f.i32x4(node.op);
        else f.i32x4(`${node.op}_${node.a.ty === "u32" ? "u" : "s"}`);
        return;
      }
      case "select": {
        if (node.rarely && this.#levels.get(expr) !== LAUNCH) {
          this.#selectRarely(node, this.#levels.get(expr) === ELEMENT);
          return;
        }
        const a = this.#local(node.a), b = this.#local(node.b), mask = this.#local(node.cond);
        f.get(a).get(b).get(mask).v128("bitselect");
        return;
      }
      case "convert":
        this.#convert(node.a.ty, node.ty, this.#local(node.a));
        return;
      case "bitcast":
        f.get(this.#local(node.a));
        return;
      case "const":
      case "index":
        f.get(this.#local(expr));
        return;
      default:
        node satisfies never;
    }
  }

  /** Computes `a` only where one of the four lanes takes it. */
  #selectRarely({ cond, a, b }: Expr["node"] & { kind: "select" }, element: boolean): void {
    const f = this.#f;
    const usual = this.#local(b), mask = this.#local(cond);
    f.get(mask).v128("any_true").if(
      () => {
        const values = element ? this.#elements : this.#lasting;
        const before = new Set(values.keys());
        f.get(this.#local(a)).get(usual).get(mask).v128("bitselect");
        // What was computed in the branch is not there after it; what holds for the launch is.
        for (const added of values.keys()) {
          if (!before.has(added) && this.#levels.get(added) !== LAUNCH) values.delete(added);
        }
      },
      () => f.get(usual),
      V128,
    );
  }

  #scalar(index: number): void {
    const f = this.#f;
    f.get(ARGS_PARAM).i64("extend_i32_u").mem("f64.load", (this.#scalarSlot + index) * 8);
    const ty = this.#scalars[index]!;
    if (ty === "f32") f.f32("demote_f64").f32x4("splat");
    else f.i32(ty === "u32" ? "trunc_f64_u" : "trunc_f64_s").i32x4("splat");
  }

  #unary(op: (Expr["node"] & { kind: "unary" })["op"], ty: Ty, a: number): void {
    const f = this.#f;
    switch (op) {
      case "neg":
        f.get(a);
        if (ty === "f32") f.f32x4("neg");
        else f.i32x4("neg");
        return;
      case "abs":
        f.get(a);
        if (ty === "f32") f.f32x4("abs");
        else if (ty === "i32") f.i32x4("abs");
        return;
      case "sqrt":
      case "floor":
        f.get(a).f32x4(op);
        return;
      case "round":
        f.get(a).f32x4("nearest");
        return;
      case "exp2":
        exp2(this.#context, a);
        return;
      case "log2":
        log2(this.#context, a);
        return;
      case "not":
        f.get(a).v128("not");
        return;
      case "sin":
      case "cos":
      case "erf":
        throw new Error(`${op} is lowered before code is made`);
      default:
        op satisfies never;
    }
  }

  /** a * b + c and c - a * b in one instruction, where nothing else needs the product. */
  #fused(node: Expr["node"] & { kind: "binary" }): boolean {
    if (node.ty !== "f32" || (node.op !== "add" && node.op !== "sub")) return false;
    const product = (e: Expr) =>
      e.node.kind === "binary" && e.node.op === "mul" && this.#uses.get(e) === 1 &&
        this.#levels.get(e) === this.#levelOf(node)
        ? e.node
        : undefined;
    const right = product(node.b);
    const left = node.op === "add" && !right ? product(node.a) : undefined;
    const factors = right ?? left;
    if (!factors) return false;
    const x = this.#local(factors.a), y = this.#local(factors.b);
    const rest = this.#local(right ? node.a : node.b);
    this.#f.get(x).get(y).get(rest);
    this.#f.f32x4(node.op === "add" ? "relaxed_madd" : "relaxed_nmadd");
    return true;
  }

  #levelOf(node: Expr["node"] & { kind: "binary" }): Level {
    return Math.max(this.#levels.get(node.a)!, this.#levels.get(node.b)!) as Level;
  }

  #binary(node: Expr["node"] & { kind: "binary" }): void {
    const f = this.#f;
    const { op, ty } = node;
    const unsigned = ty === "u32";
    switch (op) {
      case "add":
      case "sub":
      case "mul":
        f.get(this.#local(node.a)).get(this.#local(node.b));
        if (ty === "f32") f.f32x4(op);
        else f.i32x4(op);
        return;
      case "div":
        f.get(this.#local(node.a)).get(this.#local(node.b)).f32x4("div");
        return;
      case "min":
      case "max":
        this.#extreme(node, op);
        return;
      case "and":
      case "or":
      case "xor":
        f.get(this.#local(node.a)).get(this.#local(node.b)).v128(op);
        return;
      case "shl":
      case "shr": {
        const bits = node.b.node;
        if (bits.kind !== "const") throw new TypeError(`${op}: expected a constant shift`);
        f.get(this.#local(node.a)).i32const(bits.value);
        f.i32x4(op === "shl" ? "shl" : unsigned ? "shr_u" : "shr_s");
        return;
      }
      case "mulhi": {
        const a = this.#local(node.a), b = this.#local(node.b);
        f.get(a).get(b).i64x2("extmul_low_i32x4_u").get(a).get(b).i64x2("extmul_high_i32x4_u");
        f.shuffle32([1, 3, 5, 7]);
        return;
      }
      default:
        op satisfies never;
    }
  }

  /** min or max; the pseudo-minimum is one instruction, and right where its `b` is no NaN. */
  #extreme(node: Expr["node"] & { kind: "binary" }, op: "min" | "max"): void {
    const f = this.#f;
    const plain = (e: Expr) => e.node.kind === "const" && !Number.isNaN(e.node.value);
    let { a, b } = node;
    if (node.ty !== "f32") {
      f.get(this.#local(a)).get(this.#local(b)).i32x4(`${op}_${node.ty === "u32" ? "u" : "s"}`);
      return;
    }
    if (plain(a)) [a, b] = [b, a];
    f.get(this.#local(a)).get(this.#local(b)).f32x4(plain(b) ? `p${op}` : op);
  }

  #convert(from: Ty, to: Ty, a: number): void {
    const f = this.#f;
    const { constants } = this.#context;
    f.get(a);
    if (from === to) return;
    if (to === "bool") {
      f.get(constants.i32(0));
      if (from === "f32") f.f32x4("ne");
      else f.i32x4("ne");
    } else if (from === "bool") {
      f.get(to === "f32" ? constants.f32(1) : constants.i32(1)).v128("and");
    } else if (from === "f32") {
      f.i32x4(to === "u32" ? "trunc_sat_f32x4_u" : "trunc_sat_f32x4_s");
    } else if (to === "f32") {
      f.f32x4(from === "u32" ? "convert_i32x4_u" : "convert_i32x4_s");
    }
  }
}
