/**
 * Loads and stores of four elements of any dtype, at the three steps an operand can have along a
 * row. Values are computed in 32-bit lanes, whatever they are stored as.
 */
import { type DType, DTYPE_BYTES } from "../../dtype.ts";
import { I64 } from "./assembler.ts";
import { halfToSingle, singleToHalf, type VectorContext } from "./vector_math.ts";

/** How an operand is stepped through along a row: unit stride, stride 0, or another stride. */
export type Step = "unit" | "repeated" | "strided";

/** The step that a stride in elements makes. */
export function stepOf(stride: number): Step {
  return stride === 1 ? "unit" : stride === 0 ? "repeated" : "strided";
}

/** What code for an operand depends on. */
export interface Operand {
  readonly dtype: DType;
  readonly step: Step;
}

/** A context for memory access; `half` where half-precision instructions compile. */
export interface AccessContext extends VectorContext {
  readonly half: boolean;
}

/** Loads four neighbouring elements at `pointer + offset` bytes into a temporary. */
export function loadUnit(
  context: AccessContext,
  dtype: DType,
  pointer: number,
  offset: number,
): number {
  const { f, temporaries, half } = context;
  const value = temporaries.take();
  switch (dtype) {
    case "f32":
    case "i32":
    case "u32":
      f.get(pointer).vmem("load", offset).set(value);
      break;
    case "f16":
      if (half) {
        f.get(pointer).vmem("load64_zero", offset).f16x8("promote_low_f32x4").set(value);
      } else {
        f.get(pointer).vmem("load16x4_s", offset).set(value);
        halfToSingle(context, value);
        f.set(value);
      }
      break;
    case "u8":
      f.get(pointer).vmem("load32_zero", offset).i16x8("extend_low_i8x16_u");
      f.i32x4("extend_low_i16x8_u").set(value);
      break;
    default:
      dtype satisfies never;
  }
  return value;
}

/** Loads the element at `pointer` into all lanes of `value`. */
export function loadRepeated(
  context: AccessContext,
  dtype: DType,
  pointer: number,
  value: number,
): void {
  const { f } = context;
  switch (dtype) {
    case "f32":
    case "i32":
    case "u32":
      f.get(pointer).vmem("load32_splat").set(value);
      break;
    case "f16":
      f.get(pointer).mem("i32.load16_s").i32x4("splat").set(value);
      halfToSingle(context, value);
      f.set(value);
      break;
    case "u8":
      f.get(pointer).mem("i32.load8_u").i32x4("splat").set(value);
      break;
    default:
      dtype satisfies never;
  }
}

/**
 * Loads the four elements at `pointer`, `pointer + stride`, ... into a temporary.
 *
 * @param stride i64 local, in bytes
 * @param count i32 local with how many of them exist (1 or more), where it may be fewer than four;
 *   lanes beyond take the last one's value
 */
export function loadStrided(
  context: AccessContext,
  dtype: DType,
  pointer: number,
  stride: number,
  count?: number,
): number {
  const { f, temporaries } = context;
  const value = temporaries.take();
  const at = f.local(I64);
  f.get(pointer).set(at);
  for (let lane = 0; lane < 4; lane++) {
    if (lane > 0) {
      f.get(at).get(stride).i64("add");
      if (count !== undefined) f.get(at).get(count).i32const(lane).i32("gt_s").select();
      f.set(at);
    }
    if (DTYPE_BYTES[dtype] === 4) {
      f.get(at);
      if (lane === 0) f.vmem("load32_zero");
      else f.get(value).vlane("load32_lane", lane);
    } else {
      if (lane > 0) f.get(value);
      f.get(at).mem(dtype === "f16" ? "i32.load16_s" : "i32.load8_u");
      if (lane === 0) f.i32x4("splat");
      else f.i32x4replace(lane);
    }
    f.set(value);
  }
  if (dtype === "f16") {
    halfToSingle(context, value);
    f.set(value);
  }
  return value;
}

/** Inputs of one row while code for it is made: parallel lists, one entry an input. */
export interface RowInputs {
  readonly operands: readonly Operand[];
  /** i64 locals that move along the row. */
  readonly pointers: readonly number[];
  /** i64 locals with the steps along the row, in bytes. */
  readonly steps: readonly number[];
  /** Locals with the values of repeated inputs, in all lanes. */
  readonly repeated: readonly number[];
}

/** Fills the locals of the repeated inputs. */
export function loadRowInputs(context: AccessContext, row: RowInputs): void {
  row.operands.forEach(({ dtype, step }, i) => {
    if (step === "repeated") loadRepeated(context, dtype, row.pointers[i]!, row.repeated[i]!);
  });
}

/**
 * Loads the next `vectors` times four elements of each input and moves the pointers on.
 *
 * @param left i32 local with how many elements there still are, where they may be fewer than four
 * @returns for each vector the locals of the inputs' values
 */
export function loadInputs(
  context: AccessContext,
  row: RowInputs,
  vectors: number,
  left: number | undefined,
): number[][] {
  const { f } = context;
  const { operands, pointers, steps } = row;
  const values = Array.from({ length: vectors }, (_, u) =>
    operands.map(({ dtype, step }, i) => {
      if (step !== "strided") return loadDense(context, row, i, 4 * u);
      const value = loadStrided(context, dtype, pointers[i]!, steps[i]!, left);
      f.get(pointers[i]!).get(steps[i]!).i64const(4).i64("mul").i64("add").set(pointers[i]!);
      return value;
    }));
  moveDense(context, row, 4 * vectors);
  return values;
}

/** Four elements of an input that is repeated, or has them side by side, `ahead` of its pointer. */
export function loadDense(
  context: AccessContext,
  { operands, pointers, repeated }: RowInputs,
  i: number,
  ahead: number,
): number {
  const { dtype, step } = operands[i]!;
  if (step === "repeated") return repeated[i]!;
  return loadUnit(context, dtype, pointers[i]!, ahead * DTYPE_BYTES[dtype]);
}

/** Moves the pointers to inputs whose elements are side by side on by so many of them. */
export function moveDense({ f }: AccessContext, row: RowInputs, elements: number): void {
  row.operands.forEach(({ dtype, step }, i) => {
    if (step === "unit") f.advance(row.pointers[i]!, elements * DTYPE_BYTES[dtype]);
  });
}

/** Stores vectors of four elements each, one after the other from `pointer` on. */
export function storeUnit(
  context: AccessContext,
  dtype: DType,
  pointer: number,
  values: readonly number[],
): void {
  const { f } = context;
  if (DTYPE_BYTES[dtype] === 4) {
    values.forEach((value, u) => f.get(pointer).get(value).vmem("store", 16 * u));
    return;
  }
  if (dtype === "f16") {
    const halves = values.map((value) => encode(context, dtype, value));
    const pair = (a: number, b: number) => {
      f.get(halves[a]!.local).get(halves[b]!.local);
      if (halves[a]!.spread === 1) f.shuffle32([0, 1, 4, 5]);
      else f.i16x8("narrow_i32x4_s");
    };
    // All packing before any storing: the stores stay next to each other.
    const packed: number[] = [];
    for (let u = 0; u < values.length; u += 2) {
      const local = context.temporaries.take();
      pair(u, Math.min(u + 1, values.length - 1));
      f.set(local);
      packed.push(local);
    }
    packed.forEach((local, i) => {
      f.get(pointer).get(local);
      if (2 * i + 1 < values.length) f.vmem("store", 16 * i);
      else f.vlane("store64_lane", 0, 16 * i);
    });
    return;
  }
  values.forEach((value, u) => {
    const { local } = encode(context, dtype, value);
    const packed = context.temporaries.take();
    f.get(local).get(local).i16x8("narrow_i32x4_u").set(packed);
    f.get(packed).get(packed).i8x16("narrow_i16x8_u").set(packed);
    f.get(pointer).get(packed).vlane("store32_lane", 0, 4 * u);
  });
}

/**
 * Stores up to four elements at `pointer`, `pointer + stride`, ...
 *
 * @param stride i64 local, in bytes; undefined where the elements are neighbours
 * @param count i32 local with how many to store (1 or more; four where it is higher); all four
 *   where undefined
 */
export function storeLanes(
  context: AccessContext,
  dtype: DType,
  pointer: number,
  value: number,
  stride: number | undefined,
  count: number | undefined,
): void {
  const { f } = context;
  const bytes = DTYPE_BYTES[dtype];
  const { local, spread } = encode(context, dtype, value);
  const op = bytes === 4 ? "store32_lane" : bytes === 2 ? "store16_lane" : "store8_lane";
  const at = stride === undefined ? pointer : f.local(I64);
  if (stride !== undefined) f.get(pointer).set(at);
  const store = (lane: number) => {
    if (stride !== undefined && lane > 0) f.get(at).get(stride).i64("add").set(at);
    f.get(at).get(local).vlane(op, lane * spread, stride === undefined ? lane * bytes : 0);
    if (lane === 3) return;
    if (count === undefined) store(lane + 1);
    else f.get(count).i32const(lane + 1).i32("gt_s").if(() => store(lane + 1));
  };
  store(0);
}

/** A value's bits as stored: element `l` in lane `l * spread` of lanes of the element's size. */
function encode(
  context: AccessContext,
  dtype: DType,
  value: number,
): { local: number; spread: number } {
  const { f, temporaries, constants, half } = context;
  if (DTYPE_BYTES[dtype] === 4) return { local: value, spread: 1 };
  const local = temporaries.take();
  if (dtype === "f16" && half) {
    f.get(value).f16x8("demote_f32x4_zero").set(local);
    return { local, spread: 1 };
  }
  if (dtype === "f16") singleToHalf(context, value);
  else f.get(value).get(constants.i32(0xff)).v128("and");
  f.set(local);
  return { local, spread: 4 / DTYPE_BYTES[dtype] };
}
