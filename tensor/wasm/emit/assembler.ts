/**
 * A small WebAssembly assembler: kernels are emitted as bytes when the program runs, so there is
 * no build step and no binary in the repository. Code is written in stack order, as in the text
 * format: `f.get(a).get(b).f32x4("add").set(c)`.
 *
 * Addresses are i64 throughout. Where the one memory has 32-bit addresses, because the runtime has
 * no others, they are cut to that when the module's bytes are made.
 */

/** Value types, by their byte in the binary format. */
export const I32 = 0x7f, I64 = 0x7e, F32 = 0x7d, F64 = 0x7c, V128 = 0x7b;
export type ValType = typeof I32 | typeof I64 | typeof F32 | typeof F64 | typeof V128;

const EMPTY_BLOCK = 0x40;

/** The memory that a module is for. */
export interface MemoryKind {
  /** Whether threads share it. */
  readonly shared: boolean;
  /** Bits of its addresses. */
  readonly bits: 32 | 64;
}

/** The kind that all of a program's cores and up to 16 GiB can be used with. */
export const WIDE_SHARED: MemoryKind = { shared: true, bits: 64 };

/** What code is made for. */
export interface Target extends MemoryKind {
  /** Whether there are relaxed SIMD instructions; a product is rounded before a sum without them. */
  readonly relaxed: boolean;
}

/**
 * Marks in code, below all bytes, for what addresses become where they have 32 bits: the address on
 * top of the stack; the operands of `memory.copy` and `memory.fill`; and, as a value type's negative,
 * the address beneath a value of that type.
 */
const ADDRESS = -1, COPY_OPERANDS = -2, FILL_OPERANDS = -3;
/** Marks for relaxed instructions, which not every runtime has: a * b + c and -a * b + c. */
const MADD = -4, NMADD = -5;
const LOCAL_GET = 0x20, LOCAL_SET = 0x21, WRAP = 0xa7, SIMD = 0xfd;

/** Unsigned LEB128. */
export function unsigned(value: number): number[] {
  const out: number[] = [];
  let rest = value;
  do {
    const byte = rest % 128;
    rest = Math.floor(rest / 128);
    out.push(rest > 0 ? byte | 128 : byte);
  } while (rest > 0);
  return out;
}

/** Signed LEB128 of a safe integer. */
export function signed(value: number): number[] {
  const out: number[] = [];
  let rest = value;
  for (;;) {
    const byte = ((rest % 128) + 128) % 128;
    rest = Math.floor(rest / 128);
    if ((rest === 0 && byte < 64) || (rest === -1 && byte >= 64)) return [...out, byte];
    out.push(byte | 128);
  }
}

// deno-fmt-ignore
const I32_OPS = {
  eqz: 0x45, eq: 0x46, ne: 0x47, lt_s: 0x48, lt_u: 0x49, gt_s: 0x4a, gt_u: 0x4b, le_s: 0x4c,
  le_u: 0x4d, ge_s: 0x4e, ge_u: 0x4f, add: 0x6a, sub: 0x6b, mul: 0x6c, div_s: 0x6d, div_u: 0x6e,
  rem_s: 0x6f, rem_u: 0x70, and: 0x71, or: 0x72, xor: 0x73, shl: 0x74, shr_s: 0x75, shr_u: 0x76,
  wrap_i64: 0xa7, trunc_f64_s: 0xaa, trunc_f64_u: 0xab, reinterpret_f32: 0xbc,
} as const;
// deno-fmt-ignore
const I64_OPS = {
  eqz: 0x50, eq: 0x51, ne: 0x52, lt_s: 0x53, lt_u: 0x54, gt_s: 0x55, gt_u: 0x56, le_s: 0x57,
  le_u: 0x58, ge_s: 0x59, ge_u: 0x5a, add: 0x7c, sub: 0x7d, mul: 0x7e, div_s: 0x7f, div_u: 0x80,
  rem_s: 0x81, rem_u: 0x82, and: 0x83, or: 0x84, xor: 0x85, shl: 0x86, shr_s: 0x87, shr_u: 0x88,
  extend_i32_s: 0xac, extend_i32_u: 0xad, trunc_f64_s: 0xb0, trunc_f64_u: 0xb1,
} as const;
// deno-fmt-ignore
const F32_OPS = {
  eq: 0x5b, ne: 0x5c, lt: 0x5d, gt: 0x5e, le: 0x5f, ge: 0x60, abs: 0x8b, neg: 0x8c, ceil: 0x8d,
  floor: 0x8e, trunc: 0x8f, nearest: 0x90, sqrt: 0x91, add: 0x92, sub: 0x93, mul: 0x94, div: 0x95,
  min: 0x96, max: 0x97, convert_i32_s: 0xb2, convert_i32_u: 0xb3, demote_f64: 0xb6,
  reinterpret_i32: 0xbe,
} as const;
// deno-fmt-ignore
const F64_OPS = {
  add: 0xa0, sub: 0xa1, mul: 0xa2, div: 0xa3, convert_i32_s: 0xb7, convert_i64_s: 0xb9,
  promote_f32: 0xbb,
} as const;
// deno-fmt-ignore
const V128_OPS = { not: 0x4d, and: 0x4e, andnot: 0x4f, or: 0x50, xor: 0x51, bitselect: 0x52, any_true: 0x53 } as const;
// deno-fmt-ignore
const F32X4_OPS = {
  splat: 0x13, eq: 0x41, ne: 0x42, lt: 0x43, gt: 0x44, le: 0x45, ge: 0x46, ceil: 0x67, floor: 0x68,
  trunc: 0x69, nearest: 0x6a, abs: 0xe0, neg: 0xe1, sqrt: 0xe3, add: 0xe4, sub: 0xe5, mul: 0xe6,
  div: 0xe7, min: 0xe8, max: 0xe9, pmin: 0xea, pmax: 0xeb, convert_i32x4_s: 0xfa,
  convert_i32x4_u: 0xfb, demote_f64x2_zero: 0x5e, relaxed_madd: 0x105, relaxed_nmadd: 0x106,
} as const;
// deno-fmt-ignore
const I32X4_OPS = {
  splat: 0x11, eq: 0x37, ne: 0x38, lt_s: 0x39, lt_u: 0x3a, gt_s: 0x3b, gt_u: 0x3c, le_s: 0x3d,
  le_u: 0x3e, ge_s: 0x3f, ge_u: 0x40, abs: 0xa0, neg: 0xa1, all_true: 0xa3, bitmask: 0xa4,
  extend_low_i16x8_s: 0xa7, extend_high_i16x8_s: 0xa8, extend_low_i16x8_u: 0xa9,
  extend_high_i16x8_u: 0xaa, shl: 0xab, shr_s: 0xac, shr_u: 0xad, add: 0xae, sub: 0xb1, mul: 0xb5,
  min_s: 0xb6, min_u: 0xb7, max_s: 0xb8, max_u: 0xb9, trunc_sat_f32x4_s: 0xf8,
  trunc_sat_f32x4_u: 0xf9,
} as const;
// deno-fmt-ignore
const I64X2_OPS = {
  splat: 0x12, shl: 0xcb, shr_u: 0xcd, add: 0xce, mul: 0xd5, extmul_low_i32x4_u: 0xde,
  extmul_high_i32x4_u: 0xdf,
} as const;
const F64X2_OPS = { add: 0xf0, promote_low_f32x4: 0x5f } as const;
// deno-fmt-ignore
const I16X8_OPS = {
  narrow_i32x4_s: 0x85, narrow_i32x4_u: 0x86, extend_low_i8x16_u: 0x89, extend_high_i8x16_u: 0x8a,
} as const;
// deno-fmt-ignore
const I8X16_OPS = { narrow_i16x8_s: 0x65, narrow_i16x8_u: 0x66, swizzle: 0x0e } as const;

/** Behind V8's flag `--experimental-wasm-fp16`. */
const F16X8_OPS = { demote_f32x4_zero: 0x149, promote_low_f32x4: 0x14b } as const;

/** Loads and stores of 128 bits and their variants: opcode, alignment exponent. */
// deno-fmt-ignore
const V128_MEMORY = {
  load: [0x00, 4], load16x4_s: [0x03, 3], load16x4_u: [0x04, 3], load8x8_u: [0x02, 3],
  load32_splat: [0x09, 2], load64_splat: [0x0a, 3], store: [0x0b, 4], load32_zero: [0x5c, 2],
  load64_zero: [0x5d, 3],
} as const;
// deno-fmt-ignore
const V128_LANE_MEMORY = {
  load8_lane: [0x54, 0], load16_lane: [0x55, 1], load32_lane: [0x56, 2], load64_lane: [0x57, 3],
  store8_lane: [0x58, 0], store16_lane: [0x59, 1], store32_lane: [0x5a, 2], store64_lane: [0x5b, 3],
} as const;
/** Scalar loads and stores: opcode, alignment exponent. */
// deno-fmt-ignore
const SCALAR_MEMORY = {
  "i32.load": [0x28, 2], "i64.load": [0x29, 3], "f32.load": [0x2a, 2], "f64.load": [0x2b, 3],
  "i32.load8_u": [0x2d, 0], "i32.load16_u": [0x2f, 1], "i32.load16_s": [0x2e, 1],
  "i32.store": [0x36, 2], "i64.store": [0x37, 3], "f32.store": [0x38, 2], "f64.store": [0x39, 3],
  "i32.store8": [0x3a, 0], "i32.store16": [0x3b, 1],
} as const;

/** Types of what scalar stores take. */
const STORED = { i32: I32, i64: I64, f32: F32, f64: F64 } as const;

/** Emits code for a value: pushes exactly one value on the stack. */
export type Push = (f: Func) => void;

/** One function under construction. Parameters are locals 0, 1, ... */
export class Func {
  #code: number[] = [];
  readonly #prologue: number[] = [];
  readonly #locals: ValType[] = [];
  /** Position in its module, set when the module is built or when declared with `Module.add`. */
  index = -1;

  constructor(
    readonly name: string,
    readonly params: readonly ValType[],
    readonly results: readonly ValType[] = [],
  ) {}

  /** A new local variable; its index. Locals start at zero. */
  local(type: ValType): number {
    this.#locals.push(type);
    return this.params.length + this.#locals.length - 1;
  }
  locals(type: ValType, count: number): number[] {
    return Array.from({ length: count }, () => this.local(type));
  }

  /**
   * Code that runs before all other, wherever in the function it is written: constants and
   * arguments that loops want ready in locals.
   */
  prologue(emit: () => void): this {
    const code = this.#code;
    this.#code = this.#prologue;
    emit();
    this.#code = code;
    return this;
  }

  #emit(...bytes: number[]): this {
    for (const b of bytes) this.#code.push(b);
    return this;
  }
  #simd(op: number): this {
    return this.#emit(0xfd, ...unsigned(op));
  }

  get(local: number): this {
    return this.#emit(0x20, ...unsigned(local));
  }
  set(local: number): this {
    return this.#emit(0x21, ...unsigned(local));
  }
  tee(local: number): this {
    return this.#emit(0x22, ...unsigned(local));
  }
  push(value: Push | number): this {
    if (typeof value === "number") return this.get(value);
    value(this);
    return this;
  }
  drop(): this {
    return this.#emit(0x1a);
  }
  /** Scalar select: a, b, condition -> a or b. */
  select(): this {
    return this.#emit(0x1b);
  }
  call(f: Func): this {
    if (f.index < 0) throw new Error(`${f.name} is called before it is in the module`);
    return this.#emit(0x10, ...unsigned(f.index));
  }
  /** Traps. */
  unreachable(): this {
    return this.#emit(0x00);
  }
  ret(): this {
    return this.#emit(0x0f);
  }

  i32const(value: number): this {
    return this.#emit(0x41, ...signed(value | 0));
  }
  i64const(value: number): this {
    return this.#emit(0x42, ...signed(value));
  }
  f32const(value: number): this {
    return this.#emit(0x43, ...new Uint8Array(new Float32Array([value]).buffer));
  }
  f64const(value: number): this {
    return this.#emit(0x44, ...new Uint8Array(new Float64Array([value]).buffer));
  }
  /** Four lanes of the same f32. */
  f32x4const(value: number): this {
    const lane = new Uint8Array(new Float32Array([value]).buffer);
    return this.#simd(0x0c).#emit(...lane, ...lane, ...lane, ...lane);
  }
  /** Four lanes of the same 32-bit integer. */
  i32x4const(value: number): this {
    return this.i32x4lanes(value, value, value, value);
  }
  i32x4lanes(a: number, b: number, c: number, d: number): this {
    const lanes = new Int32Array([a, b, c, d].map((x) => x | 0));
    return this.#simd(0x0c).#emit(...new Uint8Array(lanes.buffer));
  }

  i32(op: keyof typeof I32_OPS): this {
    return this.#emit(I32_OPS[op]);
  }
  i64(op: keyof typeof I64_OPS): this {
    return this.#emit(I64_OPS[op]);
  }
  f32(op: keyof typeof F32_OPS): this {
    return this.#emit(F32_OPS[op]);
  }
  f64(op: keyof typeof F64_OPS): this {
    return this.#emit(F64_OPS[op]);
  }
  v128(op: keyof typeof V128_OPS): this {
    return this.#simd(V128_OPS[op]);
  }
  f32x4(op: keyof typeof F32X4_OPS): this {
    if (op === "relaxed_madd") return this.#emit(MADD);
    if (op === "relaxed_nmadd") return this.#emit(NMADD);
    return this.#simd(F32X4_OPS[op]);
  }
  i32x4(op: keyof typeof I32X4_OPS): this {
    return this.#simd(I32X4_OPS[op]);
  }
  i64x2(op: keyof typeof I64X2_OPS): this {
    return this.#simd(I64X2_OPS[op]);
  }
  f64x2(op: keyof typeof F64X2_OPS): this {
    return this.#simd(F64X2_OPS[op]);
  }
  i16x8(op: keyof typeof I16X8_OPS): this {
    return this.#simd(I16X8_OPS[op]);
  }
  i8x16(op: keyof typeof I8X16_OPS): this {
    return this.#simd(I8X16_OPS[op]);
  }
  f16x8(op: keyof typeof F16X8_OPS): this {
    return this.#simd(F16X8_OPS[op]);
  }
  /** Bytes of two vectors picked by sixteen byte numbers (0-15 the first, 16-31 the second). */
  shuffleBytes(bytes: readonly number[]): this {
    return this.#simd(0x0d).#emit(...bytes);
  }
  /** 32-bit lanes of two vectors picked by four lane numbers (0-3 the first, 4-7 the second). */
  shuffle32(lanes: readonly [number, number, number, number]): this {
    return this.shuffleBytes(lanes.flatMap((l) => [4 * l, 4 * l + 1, 4 * l + 2, 4 * l + 3]));
  }
  f32x4extract(lane: number): this {
    return this.#simd(0x1f).#emit(lane);
  }
  i32x4extract(lane: number): this {
    return this.#simd(0x1b).#emit(lane);
  }
  f32x4replace(lane: number): this {
    return this.#simd(0x20).#emit(lane);
  }
  i32x4replace(lane: number): this {
    return this.#simd(0x1c).#emit(lane);
  }

  /** 128-bit load (address on the stack) or store (address, value) at a constant byte offset. */
  vmem(op: keyof typeof V128_MEMORY, offset = 0): this {
    const [code, align] = V128_MEMORY[op];
    return this.#emit(op === "store" ? -V128 : ADDRESS).#simd(code).#emit(
      align,
      ...unsigned(offset),
    );
  }
  /** Load or store of one lane: address, vector on the stack. */
  vlane(op: keyof typeof V128_LANE_MEMORY, lane: number, offset = 0): this {
    const [code, align] = V128_LANE_MEMORY[op];
    return this.#emit(-V128).#simd(code).#emit(align, ...unsigned(offset), lane);
  }
  /** Scalar load (address) or store (address, value) at a constant byte offset. */
  mem(op: keyof typeof SCALAR_MEMORY, offset = 0): this {
    const [code, align] = SCALAR_MEMORY[op];
    return this.#emit(
      op.includes("store") ? -STORED[op.slice(0, 3) as keyof typeof STORED] : ADDRESS,
    )
      .#emit(code, align, ...unsigned(offset));
  }
  /** i32.atomic.rmw.add: address, value -> the old value. */
  atomicAdd(offset = 0): this {
    return this.#emit(-I32, 0xfe, 0x1e, 2, ...unsigned(offset));
  }
  /** memory.copy: destination, source, bytes. */
  memoryCopy(): this {
    return this.#emit(COPY_OPERANDS, 0xfc, 10, 0, 0);
  }
  /** memory.fill: destination, byte value, bytes. */
  memoryFill(): this {
    return this.#emit(FILL_OPERANDS, 0xfc, 11, 0);
  }

  block(body: () => void): this {
    this.#emit(0x02, EMPTY_BLOCK);
    body();
    return this.#emit(0x0b);
  }
  loop(body: () => void): this {
    this.#emit(0x03, EMPTY_BLOCK);
    body();
    return this.#emit(0x0b);
  }
  /** Branches to the `depth`-th enclosing block's end or loop's start. */
  br(depth: number): this {
    return this.#emit(0x0c, ...unsigned(depth));
  }
  brIf(depth: number): this {
    return this.#emit(0x0d, ...unsigned(depth));
  }
  /** Consumes a condition; `result` where both branches leave a value. */
  if(then: () => void, otherwise?: () => void, result?: ValType): this {
    this.#emit(0x04, result ?? EMPTY_BLOCK);
    then();
    if (otherwise) {
      this.#emit(0x05);
      otherwise();
    }
    return this.#emit(0x0b);
  }
  /** Runs `body` at least once, again while `condition` leaves a non-zero i32. */
  doWhile(body: () => void, condition: () => void): this {
    return this.loop(() => {
      body();
      condition();
      this.brIf(0);
    });
  }
  /** `for (; i < end; i += step)` over an i64 local (signed). */
  for64(i: number, end: Push | number, step: Push | number, body: () => void): this {
    const below = () => this.get(i).push(end).i64("lt_s");
    below();
    return this.if(() => {
      this.doWhile(() => {
        body();
        this.get(i);
        if (typeof step === "number") this.i64const(step);
        else this.push(step);
        this.i64("add").set(i);
      }, below);
    });
  }
  /** `for (; i < end; i += step)` over an i32 local (signed). */
  for32(i: number, end: Push | number, step: number, body: () => void): this {
    const below = () => this.get(i).push(end).i32("lt_s");
    below();
    return this.if(() => {
      this.doWhile(() => {
        body();
        this.get(i).i32const(step).i32("add").set(i);
      }, below);
    });
  }
  /** `local += bytes` for an i64 local. */
  advance(local: number, bytes: number): this {
    return this.get(local).i64const(bytes).i64("add").set(local);
  }

  /** The function's entry of the code section. */
  body(target: Target): number[] {
    const locals = [...this.#locals];
    const scratch = new Map<string, number>();
    const scratchOf = (name: string, type: ValType): number => {
      const known = scratch.get(name);
      if (known !== undefined) return known;
      locals.push(type);
      scratch.set(name, this.params.length + locals.length - 1);
      return scratch.get(name)!;
    };
    const instructions = [this.#prologue, this.#code].map((code) => place(code, target, scratchOf));
    const code = [...unsigned(locals.length), ...locals.flatMap((type) => [1, type])];
    const length = code.length + instructions[0]!.length + instructions[1]!.length + 1;
    return [...unsigned(length), ...code].concat(...instructions, 0x0b);
  }
}

/**
 * Code whose marks have become what the target needs.
 *
 * @param scratchOf Gives a local that no other code uses.
 */
function place(
  code: readonly number[],
  { bits, relaxed }: Target,
  scratchOf: (name: string, type: ValType) => number,
): number[] {
  const out: number[] = [];
  const local = (op: number, index: number) => out.push(op, ...unsigned(index));
  for (const b of code) {
    if (b >= 0) out.push(b);
    else if (b === MADD || b === NMADD) {
      if (relaxed) {
        out.push(SIMD, ...unsigned(F32X4_OPS[b === MADD ? "relaxed_madd" : "relaxed_nmadd"]));
        continue;
      }
      const [sum, product] = [scratchOf("sum", V128), scratchOf("product", V128)];
      local(LOCAL_SET, sum);
      out.push(SIMD, ...unsigned(F32X4_OPS.mul));
      local(LOCAL_SET, product);
      local(LOCAL_GET, sum);
      local(LOCAL_GET, product);
      out.push(SIMD, ...unsigned(F32X4_OPS[b === MADD ? "add" : "sub"]));
    } else if (bits === 64) continue;
    else if (b === ADDRESS) out.push(WRAP);
    else if (b === COPY_OPERANDS || b === FILL_OPERANDS) {
      const count = scratchOf("count", I32);
      const middle = scratchOf("middle", I32); // a source's address, or the byte to fill with
      out.push(WRAP);
      local(LOCAL_SET, count);
      if (b === COPY_OPERANDS) out.push(WRAP);
      local(LOCAL_SET, middle);
      out.push(WRAP);
      local(LOCAL_GET, middle);
      local(LOCAL_GET, count);
    } else {
      const value = scratchOf(`${-b}`, -b as ValType);
      local(LOCAL_SET, value);
      out.push(WRAP);
      local(LOCAL_GET, value);
    }
  }
  return out;
}

/** Pages of 64 KiB that memory may grow to, by the bits of its addresses: 4 or 16 GiB. */
export const MAX_PAGES = { 32: 65536, 64: 262144 } as const;

/** Functions that call each other, over one imported memory `env.memory`. */
export class Module {
  readonly #functions: Func[] = [];

  /** Adds functions; they can be called by the ones added after them (or by themselves). */
  add<F extends Func>(f: F): F {
    f.index = this.#functions.length;
    this.#functions.push(f);
    return f;
  }

  /** The module's bytes; exports every function whose name is not empty. */
  bytes(target: Partial<Target> = {}): Uint8Array<ArrayBuffer> {
    const whole: Target = { ...WIDE_SHARED, relaxed: true, ...target };
    const { shared, bits } = whole;
    const out: number[] = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
    const list = (items: number[][]): number[] => {
      const all = unsigned(items.length);
      for (const item of items) for (const b of item) all.push(b);
      return all;
    };
    const text = (s: string) => [...unsigned(s.length), ...new TextEncoder().encode(s)];
    const section = (id: number, body: number[]) => {
      out.push(id, ...unsigned(body.length));
      for (const b of body) out.push(b);
    };
    const types = this.#functions.map((
      f,
    ) => [0x60, ...list(f.params.map((t) => [t])), ...list(f.results.map((t) => [t]))]);
    const exported = this.#functions.filter((f) => f.name !== "");
    section(1, list(types));
    const limits = 1 | (shared ? 2 : 0) | (bits === 64 ? 4 : 0); // 1: it has a maximum
    section(
      2,
      list([[...text("env"), ...text("memory"), 2, limits, 1, ...unsigned(MAX_PAGES[bits])]]),
    );
    section(3, list(this.#functions.map((_, i) => unsigned(i))));
    section(7, list(exported.map((f) => [...text(f.name), 0, ...unsigned(f.index)])));
    section(10, list(this.#functions.map((f) => f.body(whole))));
    return new Uint8Array(out);
  }
}
