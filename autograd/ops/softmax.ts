/** Softmax and its logarithm. */
import {
  checkOperands,
  commonFloat,
  contiguousStrides,
  dispatch,
  empty,
  normalizeAxis,
  type Tensor,
} from "../../tensor/mod.ts";
import { defineOp } from "../op.ts";
import { packed, rowsOf } from "./packed.ts";
import { transpose } from "./shape.ts";

const callSoftmax = defineOp<{ log: boolean }, readonly [Tensor]>({
  name: "softmax",
  cast: "single",
  forward: ([x], { log }) => {
    const op = log ? "logSoftmax" : "softmax";
    commonFloat(op, [x!]);
    const out = empty(x!.device, x!.dtype, x!.shape, op);
    if (out.size > 0) {
      const rows = rowsOf(x!.shape);
      const flat = out.as(rows, contiguousStrides(rows));
      dispatch(op, "softmax", x!.device, { x: packed(x!, rows, op), out: flat, log });
    }
    return { out, saved: [out] };
  },
  backward: ([g], [y], { log }) => {
    const op = log ? "logSoftmax" : "softmax";
    const out = empty(y.device, y.dtype, y.shape, op);
    if (out.size > 0) {
      const rows = rowsOf(y.shape);
      dispatch(op, "softmaxGrad", y.device, {
        y: packed(y, rows, op),
        g: packed(g!, rows, op),
        out: out.as(rows, contiguousStrides(rows)),
        log,
      });
    }
    return [out];
  },
  samples: [
    { name: "rows", inputs: [{ shape: [17, 33] }], call: ([x]) => softmax(x!, -1) },
    { name: "rows of 1", inputs: [{ shape: [3, 1] }], call: ([x]) => softmax(x!, -1) },
    { name: "middle axis", inputs: [{ shape: [3, 5, 7] }], call: ([x]) => softmax(x!, 1) },
    {
      name: "log of strided rows",
      inputs: [{ shape: [6, 19], strided: true }],
      call: ([x]) => logSoftmax(x!, -1),
    },
  ],
});

function alongLast(x: Tensor, axis: number, op: string, log: boolean): Tensor {
  checkOperands(op, [x]);
  const at = normalizeAxis(op, axis, x.rank);
  if (at === x.rank - 1) return callSoftmax([x], { log })[0]!;
  return transpose(callSoftmax([transpose(x, at, -1)], { log })[0]!, at, -1);
}

/** e^x over its sum along `axis`. */
export function softmax(x: Tensor, axis: number): Tensor {
  return alongLast(x, axis, "softmax", false);
}

/** Logarithm of the softmax along `axis`, without losing small ones. */
export function logSoftmax(x: Tensor, axis: number): Tensor {
  return alongLast(x, axis, "logSoftmax", true);
}
