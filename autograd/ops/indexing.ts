/** Rows picked by number, and dropout. */
import {
  ADD,
  checkOperands,
  checkOptionNames,
  commonFloat,
  contiguous,
  copy,
  copyInto,
  dispatch,
  dropoutWith,
  DTypeError,
  empty,
  evaluateInto,
  fillInto,
  Generator,
  IndexError,
  reshaped,
  ShapeError,
  shapeText,
  type Tensor,
  unitInner,
} from "../../tensor/mod.ts";
import { defineOp } from "../op.ts";

/** Rows added up one after another at most: an f32 sum of many more loses digits. */
const MOST_ROWS = 1024;

/** Adds each row of g [N, D] to the row of `out` [V, D] that its index says, from zero. */
function addRows(g: Tensor, index: Tensor, out: Tensor): void {
  const [count, d] = g.shape as [number, number];
  if (count <= MOST_ROWS) {
    dispatch("embedding", "scatterAdd", g.device, { g, index, out });
    return;
  }
  using wide = copy(g, "f32", "embedding");
  using total = empty(g.device, "f32", out.shape, "embedding");
  using part = empty(g.device, "f32", out.shape, "embedding");
  for (let start = 0; start < count; start += MOST_ROWS) {
    const length = Math.min(MOST_ROWS, count - start);
    using rows = wide.as([length, d], [d, 1], wide.offset + start * d);
    using at = index.as([length], [1], index.offset + start);
    addRows(rows, at, start === 0 ? total : part);
    if (start > 0) evaluateInto("embedding", ADD, [total, part], [total]);
  }
  copyInto(total, out, "embedding");
}

const callEmbedding = defineOp<{ rows: number }, readonly [Tensor]>({
  name: "embedding",
  forward: ([table, index]) => {
    const { device, dtype } = table!;
    const d = table!.shape[1]!;
    const out = empty(device, dtype, [...index!.shape, d], "embedding");
    using packed = contiguous(index!, "embedding");
    const flat = reshaped(packed, [packed.size]);
    if (out.size > 0) {
      dispatch("embedding", "gather", device, {
        table: unitInner(table!, "embedding"),
        index: flat,
        out: reshaped(out, [flat.size, d]),
      });
    }
    return { out, saved: [flat] };
  },
  backward: ([g], [index], { rows }) => {
    const d = g!.shape.at(-1)!;
    const out = empty(g!.device, g!.dtype, [rows, d], "embedding");
    using packed = contiguous(g!, "embedding");
    if (packed.size === 0) fillInto(out, 0, "embedding");
    else {
      addRows(reshaped(packed, [index.size, d]), index, out);
    }
    return [out, null];
  },
  samples: [
    {
      name: "repeated rows",
      inputs: [{ shape: [7, 9] }, { shape: [12], dtype: "i32", low: 0, high: 6 }],
      call: ([table, index]) => embedding(table!, index!),
    },
    {
      name: "two-dimensional index into a strided table",
      inputs: [{ shape: [5, 3], strided: true }, { shape: [2, 3], dtype: "i32", low: 0, high: 4 }],
      call: ([table, index]) => embedding(table!, index!),
    },
  ],
});

function checkIndices(op: string, index: Tensor, limit: number): void {
  if (index.dtype !== "i32" && index.dtype !== "u32") {
    throw new DTypeError(`${op}: expected indices of i32 or u32 but got ${index.dtype}`);
  }
  if (index.size === 0) return;
  const { range } = index.storage;
  if (range && range.min >= 0 && range.max < limit) return;
  if (range && index.size === index.storage.length) {
    throw new IndexError(
      `${op}: expected indices in [0, ${limit}) but got some from ${range.min} to ${range.max}`,
    );
  }
  using packed = contiguous(index, op);
  using flat = reshaped(packed, [packed.size]);
  index.device.backend.checkIndices(flat.view(op), limit, op);
}

/**
 * Rows of table [V, D] by index (i32 or u32) [...]: [..., D]. Gradients of repeated rows add up.
 *
 * @throws {IndexError} where an index is outside the table. On WebGPU, indices that were computed
 * on the device are checked there, and the next read reports it.
 */
export function embedding(table: Tensor, index: Tensor): Tensor {
  checkOperands("embedding", [table, index]);
  commonFloat("embedding", [table]);
  if (table.rank !== 2) {
    throw new ShapeError(
      `embedding: expected a table [V, D] but got shape ${shapeText(table.shape)}`,
    );
  }
  checkIndices("embedding", index, table.shape[0]!);
  return callEmbedding([table, index], { rows: table.shape[0]! })[0]!;
}

const callDropout = defineOp<{ p: number; numbers: readonly number[] }, readonly []>({
  name: "dropout",
  forward: ([x], { p, numbers }) => ({ out: dropoutWith(x!, p, numbers), saved: [] }),
  // the same numbers again, so that no mask is stored
  backward: ([g], _, { p, numbers }) => [dropoutWith(g!, p, numbers)],
  samples: [{
    name: "30%",
    inputs: [{ shape: [17, 33] }],
    call: ([x]) => dropout(x!, 0.3, { generator: new Generator(7) }),
  }],
});

/** Settings of {@link dropout}. */
export interface DropoutOptions {
  /** Where the random numbers come from. */
  generator: Generator;
}

/** x with each element 0 with probability `p`, the others divided by 1 - p. */
export function dropout(x: Tensor, p: number, options: DropoutOptions): Tensor {
  checkOperands("dropout", [x]);
  checkOptionNames("dropout", options, { generator: 1 });
  if (!(p >= 0 && p < 1)) throw new RangeError(`dropout: expected p in [0, 1) but got ${p}`);
  if (!(options.generator instanceof Generator)) {
    throw new TypeError(`dropout: expected a Generator but got ${options.generator}`);
  }
  commonFloat("dropout", [x]);
  if (p === 0) return x;
  return callDropout([x], { p, numbers: options.generator.claim(x.size) })[0]!;
}
