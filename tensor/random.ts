/**
 * Random numbers from one counter-based generator, Philox 4x32-10 (Salmon et al. 2011, "Parallel
 * random numbers: as easy as 1, 2, 3"): the same stream on every backend, addressed by (seed,
 * stream, offset), so that a sample's noise depends on its own seed and on nothing else.
 *
 * Element i of a draw at offset o uses counter block (o + i, stream): word 0 for uniforms and
 * integers, words 0 and 1 for normals. A draw of n elements moves the offset on by n.
 */
import { checkOptionNames } from "./options.ts";
import { currentDevice } from "./device.ts";
import { DTypeError } from "./errors.ts";
import { constant, elementIndex, type Expr, program } from "./expr.ts";
import { checkShape, type Shape, sizeOf } from "./shape.ts";
import type { Device } from "./storage.ts";
import { empty, type Tensor } from "./tensor.ts";

const MULTIPLIERS = [0xd2511f53, 0xcd9e8d57] as const;
const WEYL = [0x9e3779b9, 0xbb67ae85] as const;
const ROUNDS = 10;

/** Where a generator stands: enough to continue it exactly. */
export interface GeneratorState {
  /** Up to 64 bits, as a decimal string (exact in JSON). */
  seed: string;
  /** Independent sequence of the seed, 0 to 2^32 - 1. */
  stream: number;
  /** Counter blocks drawn so far. */
  offset: number;
}

/** One of equal parts. */
export interface Share {
  /** Which, from 0. */
  readonly index: number;
  /** How many there are. */
  readonly of: number;
}

/** What a claim gives: the key, the low and the high half of the first counter, the stream. */
type Claimed = [k0: number, k1: number, lo: number, hi: number, stream: number];

/** All of it. */
const WHOLE: Share = { index: 0, of: 1 };

/** A place in a random stream that moves on with every draw. */
export class Generator {
  readonly #seed: bigint;
  /** The low and the high half of the seed. */
  readonly #key: readonly [number, number];
  readonly #stream: number;
  readonly #share: Share;
  #offset = 0;

  /**
   * Stands at the start of a stream.
   *
   * @param seed Whole number, 64 bits of which are used.
   * @param stream Independent sequence of the same seed (a sample's number).
   * @param share Every draw is this part of one that is as many times as large, along its first
   * axis: processes that share a batch draw together what one draws for the whole of it.
   */
  constructor(seed: number | bigint, stream = 0, share: Share = WHOLE) {
    if (typeof seed === "number" && !Number.isSafeInteger(seed)) {
      throw new RangeError(`Generator: expected a whole number as seed but got ${seed}`);
    }
    if (!Number.isInteger(stream) || stream < 0 || stream > 0xffffffff) {
      throw new RangeError(`Generator: expected a stream in [0, 2^32) but got ${stream}`);
    }
    const { index, of } = share;
    if (!Number.isInteger(index) || !Number.isInteger(of) || index < 0 || index >= of) {
      throw new RangeError(`Generator: expected a share in [0, ${of}) but got ${index}`);
    }
    this.#seed = BigInt.asUintN(64, BigInt(seed));
    this.#key = [Number(this.#seed & 0xffffffffn), Number(this.#seed >> 32n)];
    this.#stream = stream;
    this.#share = share;
  }

  /** Counter blocks drawn so far, of all shares. */
  get offset(): number {
    return this.#offset;
  }

  /** Where the generator stands. */
  state(): GeneratorState {
    return { seed: this.#seed.toString(), stream: this.#stream, offset: this.#offset };
  }

  /** A generator that continues from `state`. */
  static from(state: GeneratorState): Generator {
    const made = new Generator(BigInt(state.seed), state.stream);
    made.seek(state.offset);
    return made;
  }

  /** Moves to an absolute offset. */
  seek(offset: number): void {
    if (!Number.isSafeInteger(offset) || offset < 0) {
      throw new RangeError(`Generator: expected an offset of 0 or more but got ${offset}`);
    }
    this.#offset = offset;
  }

  /** The numbers that kernels need for a draw of `count` elements; moves on. */
  claim(count: number): number[] {
    drawHooks.forEach((hook) => hook(this));
    const { index, of } = this.#share;
    const at = this.#offset + index * count;
    this.#offset += of * count;
    return [...this.#key, at >>> 0, Math.floor(at / 2 ** 32) >>> 0, this.#stream];
  }

  /** The next 32 random bits, on the host. */
  nextUint32(): number {
    const [k0, k1, lo, hi, stream] = this.claim(1) as Claimed;
    return philox([lo, hi, stream, 0], [k0, k1])[0];
  }
  /** The next `count` times 32 random bits, on the host: one draw. */
  nextUint32s(count: number): Uint32Array<ArrayBuffer> {
    const [k0, k1, lo, hi, stream] = this.claim(count) as Claimed;
    return Uint32Array.from({ length: count }, (_, i) => {
      const at = hi * 2 ** 32 + lo + i;
      return philox([at >>> 0, Math.floor(at / 2 ** 32) >>> 0, stream, 0], [k0, k1])[0];
    });
  }
  /** The next number in [0, 1) with 24 random bits, on the host. */
  nextUniform(): number {
    return (this.nextUint32() >>> 8) * 2 ** -24;
  }
  /** The next whole number in [0, limit), on the host; the limit has 32 bits at most. */
  nextBelow(limit: number): number {
    if (!Number.isInteger(limit) || limit < 1 || limit > 2 ** 32) {
      throw new RangeError(`nextBelow: expected a limit in [1, 2^32] but got ${limit}`);
    }
    return highWord(this.nextUint32(), limit);
  }
  /** 0 to count - 1 in random order, on the host (Fisher-Yates). */
  permutation(count: number): Uint32Array<ArrayBuffer> {
    if (!Number.isInteger(count) || count < 0 || count > 2 ** 32) {
      throw new RangeError(`permutation: expected a count in [0, 2^32] but got ${count}`);
    }
    const order = Uint32Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const j = this.nextBelow(i + 1);
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    return order;
  }
}

let shared = new Generator(0);

/** The generator that draws come from where none is given; seed 0 until `manualSeed`. */
export function defaultGenerator(): Generator {
  return shared;
}

/** Starts the default generator again from `seed`, and returns it. */
export function manualSeed(seed: number | bigint): Generator {
  return shared = new Generator(seed);
}

/**
 * Runs `fn` with another default generator: for what is built of parts that draw from it, such as
 * the weights of a model, without a change to the draws of others.
 */
export function withGenerator<T>(generator: Generator, fn: () => T): T {
  const before = shared;
  shared = generator;
  try {
    return fn();
  } finally {
    shared = before;
  }
}

const drawHooks = new Set<(g: Generator) => void>();

/** Calls `hook` before every draw of any generator, until the returned function is called. */
export function onDraw(hook: (g: Generator) => void): () => void {
  drawHooks.add(hook);
  return () => drawHooks.delete(hook);
}

/**
 * The upper 32 bits of a product of two 32-bit numbers, from products of their halves: each sum
 * fits 32 bits. (BigInt does it in a line, twenty times slower: an epoch is a million draws.)
 */
function highWord(a: number, b: number): number {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  const middle = a1 * b0 + (Math.imul(a0, b0) >>> 16);
  const carry = a0 * b1 + (middle & 0xffff);
  return Math.imul(a1, b1) + (middle >>> 16) + (carry >>> 16) >>> 0;
}

/** One Philox 4x32-10 block on the host. */
export function philox(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let c0 = counter[0];
  let c1 = counter[1];
  let c2 = counter[2];
  let c3 = counter[3];
  let k0 = key[0];
  let k1 = key[1];
  for (let round = 0; round < ROUNDS; round++) {
    const a = c0;
    const b = c2;
    c0 = (highWord(MULTIPLIERS[1], b) ^ c1 ^ k0) >>> 0;
    c1 = Math.imul(MULTIPLIERS[1], b) >>> 0;
    c2 = (highWord(MULTIPLIERS[0], a) ^ c3 ^ k1) >>> 0;
    c3 = Math.imul(MULTIPLIERS[0], a) >>> 0;
    k0 = (k0 + WEYL[0]) >>> 0;
    k1 = (k1 + WEYL[1]) >>> 0;
  }
  return [c0, c1, c2, c3];
}

const u32 = (value: number) => constant(value, "u32");

/** The same block as expressions: words 0 and 1 for the element being computed. */
function philoxWords(k0: Expr, k1: Expr, lo: Expr, hi: Expr, stream: Expr): [Expr, Expr] {
  const at = lo.add(elementIndex());
  const carry = at.lt(lo).select(u32(1), u32(0));
  let [c0, c1, c2, c3] = [at, hi.add(carry), stream, u32(0)];
  for (let round = 0; round < ROUNDS; round++) {
    const [a, b] = [u32(MULTIPLIERS[0]), u32(MULTIPLIERS[1])];
    const [hi0, lo0, hi1, lo1] = [a.mulhi(c0), a.mul(c0), b.mulhi(c2), b.mul(c2)];
    [c0, c1, c2, c3] = [hi1.xor(c1).xor(k0), lo1, hi0.xor(c3).xor(k1), lo0];
    [k0, k1] = [k0.add(WEYL[0]), k1.add(WEYL[1])];
  }
  return [c0, c1];
}

/** Uniform in [0, 1): the top 24 bits of a word. */
function unit(word: Expr): Expr {
  return word.shr(8).to("f32").mul(2 ** -24);
}

/** What a draw makes of the two words of an element, and of further numbers given at launch. */
type Draw = (...claimed: Expr[]) => Expr;

function draws(formula: (words: [Expr, Expr], ...scalars: Expr[]) => Expr): Draw {
  return (k0, k1, lo, hi, stream, ...rest) =>
    formula(philoxWords(k0!, k1!, lo!, hi!, stream!), ...rest);
}

/** -ln(1 - v) for the v = k / 2^24 in [0, 1) of a word; by a series near 0, where GPUs' log fails. */
function exponential(word: Expr): Expr {
  const v = unit(word);
  const series = v.mul(1 / 5).add(1 / 4).mul(v).add(1 / 3).mul(v).add(1 / 2).mul(v).add(1).mul(v);
  return v.lt(1 / 32).select(series, constant(1).sub(v).log().neg());
}

/** cos(2 pi t) for t in [0, 1), with the angle brought below a quarter turn while it is exact. */
function cosineOfTurn(t: Expr): Expr {
  const half = t.sub(t.round()).abs();
  const far = half.gt(1 / 4);
  const cosine = far.select(constant(1 / 2).sub(half), half).mul(2 * Math.PI).cos();
  return far.select(cosine.neg(), cosine);
}

/** Box-Muller: the first word gives a radius, the second an angle. */
const NORMAL = draws(([a, b]) => exponential(a).mul(2).sqrt().mul(cosineOfTurn(unit(b))));
const UNIFORM = draws(([a]) => unit(a));
/** The largest f16 below 1 instead of what would be rounded to 1. */
const UNIFORM_HALF = draws(([a]) => unit(a).min(1 - 2 ** -11));
const BELOW = draws(([a], limit) => a.mulhi(limit!).to("i32"));

function draw(
  op: string,
  formula: Draw,
  shape: Shape,
  generator: Generator,
  device: Device,
  dtype: "f32" | "f16" | "i32",
  scalars: number[] = [],
): Tensor {
  checkShape(op, shape);
  if (!(generator instanceof Generator)) {
    throw new TypeError(`${op}: expected a Generator but got ${generator}`);
  }
  if (op !== "randint" && dtype !== "f32" && dtype !== "f16") {
    throw new DTypeError(`${op}: expected f32 or f16 but got ${dtype}`);
  }
  const out = empty(device, dtype, shape, op);
  const claimed = generator.claim(sizeOf(shape));
  if (sizeOf(shape) === 0) return out;
  const numbers = [...claimed, ...scalars];
  const slots = numbers.map(() => ({ kind: "scalar", ty: "u32" } as const));
  const made = program(op, slots, formula);
  device.backend.run("elementwise", {
    program: made,
    ins: [],
    outs: [out.view(op)],
    scalars: numbers,
  }, op);
  return out;
}

/** Where random numbers are made, and of what type. */
export interface RandomOptions {
  /** The stream to draw from; by default the one that `manualSeed` sets. */
  generator?: Generator;
  /** Element type, f32 by default. */
  dtype?: "f32" | "f16";
  /** Device, by default the current one. */
  device?: Device;
}

const RANDOM_OPTIONS = { generator: true, dtype: true, device: true } as const;

/** Standard normal numbers. */
export function randn(shape: Shape, options: RandomOptions = {}): Tensor {
  checkOptionNames("randn", options, RANDOM_OPTIONS);
  const { generator = defaultGenerator(), dtype = "f32", device = currentDevice() } = options;
  return draw("randn", NORMAL, shape, generator, device, dtype);
}

/** Uniform numbers in [0, 1). */
export function rand(shape: Shape, options: RandomOptions = {}): Tensor {
  checkOptionNames("rand", options, RANDOM_OPTIONS);
  const { generator = defaultGenerator(), dtype = "f32", device = currentDevice() } = options;
  const formula = dtype === "f16" ? UNIFORM_HALF : UNIFORM;
  return draw("rand", formula, shape, generator, device, dtype);
}

/** Whole numbers in [0, limit), i32. */
export function randint(
  limit: number,
  shape: Shape,
  options: Omit<RandomOptions, "dtype"> = {},
): Tensor {
  checkOptionNames("randint", options, { generator: true, device: true });
  if (!Number.isInteger(limit) || limit < 1 || limit > 2 ** 31) {
    throw new RangeError(`randint: expected a limit in [1, 2^31] but got ${limit}`);
  }
  const { generator = defaultGenerator(), device = currentDevice() } = options;
  const out = draw("randint", BELOW, shape, generator, device, "i32", [limit]);
  out.storage.range = { min: 0, max: limit - 1 };
  return out;
}

function dropped(...[x, k0, k1, lo, hi, stream, limit, factor]: Expr[]): Expr {
  const drawn = unit(philoxWords(k0!, k1!, lo!, hi!, stream!)[0]);
  return drawn.lt(limit!).select(0, x!.mul(factor!));
}

/**
 * Dropout: x with each element 0 with probability `p` and the others divided by 1 - p, from the
 * numbers that {@link Generator.claim} gave: the same ones drop the same elements again.
 */
export function dropoutWith(x: Tensor, p: number, numbers: readonly number[]): Tensor {
  const out = empty(x.device, x.dtype, x.shape, "dropout");
  if (out.size === 0) return out;
  const scalars = [...numbers, p, 1 / (1 - p)];
  const slots = scalars.map((_, i) => ({ kind: "scalar", ty: i < 5 ? "u32" : "f32" } as const));
  const made = program("dropout", [{ kind: "input", ty: "f32" }, ...slots], dropped);
  x.device.backend.run("elementwise", {
    program: made,
    ins: [x.view("dropout")],
    outs: [out.view("dropout")],
    scalars,
  }, "dropout");
  return out;
}
