/**
 * Elementwise programs, interpreted. A program is compiled once into a list of steps, one a node
 * of its graph, each working through a block of elements before the next step begins: shared
 * nodes are computed once, and the price of interpreting is paid once a block.
 */
import type { KernelArgs } from "../kernels.ts";
import type { View } from "../view.ts";
import { constant, type Expr, type Node, type Program, program, type Ty } from "../expr.ts";
import { sizeOf } from "../shape.ts";
import { elementPlaces, elementsOf } from "./buffer.ts";
import { erf, roundHalfEven } from "./math.ts";
import type { Trials } from "./trial.ts";

const BLOCK = 512;

type Unary = (a: number) => number;
type Binary = (a: number, b: number) => number;

/** Values of one node for a block of elements; integers and bools are whole float64 numbers. */
type Register = Float64Array<ArrayBuffer>;

const UNARY: { readonly [K in Extract<Node, { kind: "unary" }>["op"]]: Unary } = {
  neg: (a) => -a,
  abs: Math.abs,
  sqrt: Math.sqrt,
  floor: Math.floor,
  round: roundHalfEven,
  exp2: (a) => Math.pow(2, a),
  log2: Math.log2,
  sin: Math.sin,
  cos: Math.cos,
  erf,
  not: (a) => a === 0 ? 1 : 0,
};

/** Results are wrapped to the node's type afterwards, so one row serves i32 and u32. */
const BINARY: { readonly [K in Extract<Node, { kind: "binary" }>["op"]]: Binary } = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  min: Math.min,
  max: Math.max,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shl: (a, b) => a << b,
  shr: (a, b) => a >>> b,
  mulhi: (a, b) => Number((BigInt(a) * BigInt(b)) >> 32n),
};

const COMPARE: { readonly [K in Extract<Node, { kind: "compare" }>["op"]]: Binary } = {
  lt: (a, b) => a < b ? 1 : 0,
  le: (a, b) => a <= b ? 1 : 0,
  gt: (a, b) => a > b ? 1 : 0,
  ge: (a, b) => a >= b ? 1 : 0,
  eq: (a, b) => a === b ? 1 : 0,
  ne: (a, b) => a !== b ? 1 : 0,
};

const wordF32 = new Float32Array(1);
const wordI32 = new Int32Array(wordF32.buffer);
const wordU32 = new Uint32Array(wordF32.buffer);
const WORDS = { f32: wordF32, i32: wordI32, u32: wordU32 };

/** The 32 bits of `a`, a value of type `from`, read as type `to`. */
function bitcast(from: Ty, to: Ty): Unary {
  if (from === "bool" || to === "bool") throw new TypeError("a bool has no bits to cast");
  const source = WORDS[from];
  const target = WORDS[to];
  return (a) => {
    source[0] = a;
    return target[0]!;
  };
}

function clampWhole(a: number, low: number, high: number): number {
  return Number.isNaN(a) ? 0 : Math.min(Math.max(Math.trunc(a), low), high);
}

/** `a`, a value of type `from`, as the nearest thing of type `to`. */
function convert(from: Ty, to: Ty): Unary {
  if (to === "bool") return (a) => a !== 0 ? 1 : 0;
  if (from === "f32" && to === "i32") return (a) => clampWhole(a, -0x80000000, 0x7fffffff);
  if (from === "f32" && to === "u32") return (a) => clampWhole(a, 0, 0xffffffff);
  return wrapper(to);
}

/** Brings an integer back into 32 bits. */
function wrapper(ty: Ty): Unary {
  if (ty === "i32") return (a) => a | 0;
  if (ty === "u32") return (a) => a >>> 0;
  return (a) => a;
}

/** The function of a binary node, exact for its type. */
function binaryFunction(op: keyof typeof BINARY, ty: Ty): Binary {
  if (ty === "f32") return BINARY[op];
  const wrap = wrapper(ty);
  // A float64 product of two 32-bit numbers loses its low bits.
  if (op === "mul") return (a, b) => wrap(Math.imul(a, b));
  if (op === "shr" && ty === "i32") return (a, b) => a >> b;
  const f = BINARY[op];
  return (a, b) => wrap(f(a, b));
}

function map1(f: Unary, a: Register, out: Register): (count: number) => void {
  return (count) => {
    for (let i = 0; i < count; i++) out[i] = f(a[i]!);
  };
}

function map2(f: Binary, a: Register, b: Register, out: Register): (count: number) => void {
  return (count) => {
    for (let i = 0; i < count; i++) out[i] = f(a[i]!, b[i]!);
  };
}

/** A program ready to be run over blocks of elements. */
class CompiledProgram {
  readonly inputs: Register[];
  readonly scalars: Register[];
  readonly outs: Register[];
  readonly places: Float64Array = new Float64Array(BLOCK);
  readonly #steps: ((count: number, first: number) => void)[] = [];
  readonly #registers = new Map<Expr, Register>();

  constructor(program: Program) {
    this.inputs = program.inputs.map(() => new Float64Array(BLOCK));
    this.scalars = program.scalars.map(() => new Float64Array(BLOCK));
    this.outs = program.outs.map((out) => this.#compile(out));
  }

  /** Computes `count` elements from the `first`-th on; inputs and scalars are already in place. */
  run(first: number, count: number): void {
    for (const step of this.#steps) step(count, first);
  }

  #compile(expr: Expr): Register {
    const known = this.#registers.get(expr);
    if (known) return known;
    const made = this.#compileNode(expr.node);
    this.#registers.set(expr, made);
    return made;
  }

  #compileNode(node: Node): Register {
    if (node.kind === "input") return this.inputs[node.index]!;
    if (node.kind === "scalar") return this.scalars[node.index]!;
    const out = new Float64Array(BLOCK);
    switch (node.kind) {
      case "const":
        return out.fill(wrapper(node.ty)(node.value));
      case "index":
        this.#steps.push((count, first) => {
          for (let i = 0; i < count; i++) out[i] = first + i;
        });
        return out;
      case "unary": {
        const wrap = wrapper(node.ty);
        const f = UNARY[node.op];
        this.#steps.push(map1((a) => wrap(f(a)), this.#compile(node.a), out));
        return out;
      }
      case "binary": {
        const [a, b] = [this.#compile(node.a), this.#compile(node.b)];
        this.#steps.push(map2(binaryFunction(node.op, node.ty), a, b, out));
        return out;
      }
      case "compare": {
        const [a, b] = [this.#compile(node.a), this.#compile(node.b)];
        this.#steps.push(map2(COMPARE[node.op], a, b, out));
        return out;
      }
      case "select": {
        const cond = this.#compile(node.cond);
        const [a, b] = [this.#compile(node.a), this.#compile(node.b)];
        this.#steps.push((count) => {
          for (let i = 0; i < count; i++) out[i] = cond[i] !== 0 ? a[i]! : b[i]!;
        });
        return out;
      }
      case "convert":
        this.#steps.push(map1(convert(node.a.ty, node.ty), this.#compile(node.a), out));
        return out;
      case "bitcast":
        this.#steps.push(map1(bitcast(node.a.ty, node.ty), this.#compile(node.a), out));
        return out;
    }
  }
}

const compiled = new WeakMap<Program, CompiledProgram>();

/**
 * Runs `program` over all elements of `ins` (views of shape `shape`), block by block: `consume`
 * gets the values of every output for elements [first, first + count).
 */
export function runProgram(
  program: Program,
  ins: readonly View[],
  scalars: readonly number[],
  shape: readonly number[],
  consume: (outs: readonly Register[], first: number, count: number) => void,
): void {
  let code = compiled.get(program);
  if (!code) compiled.set(program, code = new CompiledProgram(program));
  scalars.forEach((value, i) => code.scalars[i]!.fill(wrapper(program.scalars[i]!)(value)));
  const sources = ins.map(elementsOf);
  const size = sizeOf(shape);
  for (let first = 0; first < size; first += BLOCK) {
    const count = Math.min(BLOCK, size - first);
    for (let k = 0; k < ins.length; k++) {
      elementPlaces(ins[k]!, first, count, code.places);
      const source = sources[k]!;
      const register = code.inputs[k]!;
      for (let i = 0; i < count; i++) register[i] = source[code.places[i]!]!;
    }
    code.run(first, count);
    consume(code.outs, first, count);
  }
}

/** See {@linkcode KernelArgs}. A whole block is read before any of it is written (in-place). */
export function elementwise({ program, ins, outs, scalars }: KernelArgs["elementwise"]): void {
  const targets = outs.map(elementsOf);
  const places = new Float64Array(BLOCK);
  runProgram(program, ins, scalars, outs[0]!.shape, (values, first, count) => {
    for (let k = 0; k < outs.length; k++) {
      elementPlaces(outs[k]!, first, count, places);
      const target = targets[k]!;
      const value = values[k]!;
      for (let i = 0; i < count; i++) target[places[i]!] = value[i]!;
    }
  });
}

const f32 = { kind: "input", ty: "f32" } as const;
const u32 = { kind: "input", ty: "u32" } as const;

/** Every operation that backends make code for, once, in sums that no part of can be lost from. */
const ARITHMETIC = program("selfTest.arithmetic", [f32, f32], (a, b) => {
  const positive = a!.abs().add(0.5);
  const sum = (...parts: Expr[]) => parts.reduce((x, y) => x.add(y));
  return [
    sum(a!.mul(b!).sub(a!.div(positive)), a!.min(b!), a!.max(b!).neg(), positive.sqrt()),
    sum(a!.mul(8).floor(), b!.mul(8).round(), a!.lt(b!).not().select(a!, b!)),
    sum(a!.exp2(), positive.log2(), a!.mul(4).sin(), b!.mul(2 ** 20).cos(), a!.erf()),
  ];
});
const INTEGERS = program("selfTest.integers", [u32, u32], (a, b) => {
  const mixed = a!.xor(b!.shl(3)).add(a!.shr(5)).sub(b!.and(0xff)).or(constant(6, "u32"));
  return [mixed.mul(b!), a!.mulhi(b!), a!.bits("i32").neg().bits("u32")];
});

export const elementwiseTrials: Trials<"elementwise"> = [
  (x) => ({
    program: ARITHMETIC,
    ins: [x.input([9, 67]), x.repeated([9, 67])],
    outs: [x.output([9, 67]), x.output([9, 67]), x.output([9, 67])],
    scalars: [],
  }),
  (x) => ({
    program: INTEGERS,
    ins: [x.input([83], 0, 2 ** 32, "u32"), x.input([83], 0, 2 ** 32, "u32")],
    outs: [x.output([83], "u32"), x.output([83], "u32"), x.output([83], "u32")],
    scalars: [],
  }),
];
