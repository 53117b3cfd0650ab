/**
 * Transposed inputs of elementwise kernels. Their tile is read in the order in which it lies in
 * memory, transposed in blocks of 4 by 4, and laid out row by row in the thread's scratch memory, where
 * the kernel finds it as if it had never been transposed. Reading such an input straight away
 * touches a cache line for every element: 4 times slower on a square matrix.
 */
import { type DType, DTYPE_BYTES } from "../../dtype.ts";
import { computeType } from "../../expr.ts";
import { scratchI64 } from "../emit/abi.ts";
import { type AccessContext, loadUnit } from "../emit/access.ts";
import { I32, I64 } from "../emit/assembler.ts";
import type { Layout, Odometer } from "../emit/odometer.ts";

/**
 * Size of a tile with staged inputs: long runs for reading, whole cache lines for writing. On 2048
 * by 2048, 64 by 64 takes 1.5 times as long.
 */
export const STAGED_ROWS = 256, STAGED_COLUMNS = 16;

/** From row to row in staging memory: one vector more than a row, so that rows share no cache set. */
const PITCH = (STAGED_COLUMNS + 4) * 4;
const INPUT_BYTES = PITCH * STAGED_ROWS;

/** Scratch memory that `inputs` staged inputs take. */
export function stagingBytes(inputs: number): number {
  return inputs * INPUT_BYTES;
}

/** What an element is in staging memory: decoded to 32 bits. */
export function stagedType(dtype: DType): "f32" | "i32" | "u32" {
  const ty = computeType(dtype);
  return ty === "bool" ? "u32" : ty;
}

/** Emits the staging of a tile. */
export class Staging {
  readonly #context: AccessContext;
  readonly #layout: Layout;
  readonly #rows: Odometer;
  readonly #scratch: number;
  /** For each staged input the i64 local with the address of its present row. */
  readonly pointers: ReadonlyMap<number, number>;

  /** @param staged numbers of the operands to stage */
  constructor(
    context: AccessContext,
    layout: Layout,
    rows: Odometer,
    staged: readonly number[],
  ) {
    const { f } = context;
    this.#context = context;
    this.#layout = layout;
    this.#rows = rows;
    this.#scratch = staged.length > 0 ? scratchI64(f) : -1;
    this.pointers = new Map(staged.map((operand) => [operand, f.local(I64)]));
  }

  /**
   * Fills the staging memory with rows `row` to `rowEnd` (i64 locals), `columns` (an i32 local)
   * wide, of each staged input, from where the odometer stands.
   */
  emitTile(row: number, rowEnd: number, columns: number): void {
    const { f } = this.#context;
    [...this.pointers].forEach(([operand, pointer], i) => {
      f.get(this.#scratch).i64const(i * INPUT_BYTES).i64("add").set(pointer);
      this.#emitInput(operand, pointer, row, rowEnd, columns);
    });
  }

  #emitInput(operand: number, to: number, row: number, rowEnd: number, columns: number): void {
    const { f, temporaries } = this.#context;
    const { dtype } = this.#layout.operands[operand]!;
    const step = this.#rows.steps[operand]!;
    const column = f.local(I32), left = f.local(I32), first = f.local(I64), at = f.local(I64);
    const lines = f.locals(I64, 4);
    f.i32const(0).set(column).get(this.#rows.pointers[operand]!).set(first);
    f.for32(column, columns, 4, () => {
      // Four columns of the tile, each a line of the input; past the last one, that one again.
      f.get(first).set(lines[0]!);
      for (let k = 1; k < 4; k++) {
        f.get(lines[k - 1]!).get(step).i64("add").get(lines[k - 1]!);
        f.get(columns).get(column).i32("sub").i32const(k).i32("gt_s").select().set(lines[k]!);
      }
      f.get(first).get(step).i64const(4).i64("mul").i64("add").set(first);
      f.get(to).get(column).i64("extend_i32_u").i64const(4).i64("mul").i64("add").set(at);
      f.get(rowEnd).get(row).i64("sub").i32("wrap_i64").set(left);
      f.doWhile(() => {
        const rows = this.#transpose4x4(
          lines.map((line) => loadUnit(this.#context, dtype, line, 0)),
        );
        rows.forEach((value, k) => f.get(at).get(value).vmem("store", k * PITCH));
        for (const line of lines) f.advance(line, 4 * DTYPE_BYTES[dtype]);
        f.advance(at, 4 * PITCH);
        f.get(left).i32const(4).i32("sub").set(left);
        temporaries.releaseAll();
      }, () => f.get(left).i32const(0).i32("gt_s"));
    });
  }

  /** The transpose of four vectors of four lanes. */
  #transpose4x4([a, b, c, d]: number[]): number[] {
    const { f, temporaries } = this.#context;
    const shuffled = (x: number, y: number, lanes: readonly [number, number, number, number]) => {
      const local = temporaries.take();
      f.get(x).get(y).shuffle32(lanes).set(local);
      return local;
    };
    const ab = shuffled(a!, b!, [0, 4, 1, 5]), abHigh = shuffled(a!, b!, [2, 6, 3, 7]);
    const cd = shuffled(c!, d!, [0, 4, 1, 5]), cdHigh = shuffled(c!, d!, [2, 6, 3, 7]);
    return [
      shuffled(ab, cd, [0, 1, 4, 5]),
      shuffled(ab, cd, [2, 3, 6, 7]),
      shuffled(abHigh, cdHigh, [0, 1, 4, 5]),
      shuffled(abHigh, cdHigh, [2, 3, 6, 7]),
    ];
  }

  /** Goes to the next row of the tile. */
  emitNext(): void {
    for (const pointer of this.pointers.values()) this.#context.f.advance(pointer, PITCH);
  }
}
