/** The gate of SwiGLU (arXiv 2002.05202). */
import {
  checkOperands,
  commonFloat,
  constant,
  empty,
  evaluateInto,
  evaluateOne,
  type Formula,
  ShapeError,
  shapeText,
  type Tensor,
} from "../../tensor/mod.ts";
import { defineOp } from "../op.ts";
import { window } from "./window.ts";

/** silu(a) b */
const FORWARD: Formula = {
  name: "swiglu",
  build: (a, b) => [a!.mul(a!.sigmoid()).mul(b!)],
};

/** What reaches a and b of what reaches silu(a) b, with one sigmoid between them. */
const GRADIENTS: Formula = {
  name: "gradients of swiglu",
  build: (g, a, b) => {
    const s = a!.sigmoid();
    const slope = s.mul(a!.mul(constant(1).sub(s)).add(1));
    return [g!.mul(b!).mul(slope), g!.mul(a!.mul(s))];
  },
};

/** Both halves of the last axis, as views. */
function halves(x: Tensor): [Tensor, Tensor] {
  const size = x.shape.at(-1)! / 2;
  return [window(x, x.rank - 1, 0, size, 1), window(x, x.rank - 1, size, size, 1)];
}

const callSwiglu = defineOp<null, readonly [Tensor]>({
  name: "swiglu",
  forward: ([x]) => {
    commonFloat("swiglu", [x!]);
    return { out: evaluateOne("swiglu", FORWARD, halves(x!)), saved: [x!] };
  },
  backward: ([g], [x]) => {
    const grad = empty(x.device, x.dtype, x.shape, "swiglu");
    evaluateInto("swiglu", GRADIENTS, [g!, ...halves(x)], halves(grad));
    return [grad];
  },
  samples: [
    { name: "tokens", inputs: [{ shape: [2, 3, 10] }], call: ([x]) => swiglu(x!) },
    { name: "strided", inputs: [{ shape: [5, 6], strided: true }], call: ([x]) => swiglu(x!) },
  ],
});

/**
 * silu(a) b, where a is the first half of the last axis of x [..., 2 D] and b the second:
 * [..., D].
 *
 * @throws {ShapeError} where the last axis has no halves.
 */
export function swiglu(x: Tensor): Tensor {
  checkOperands("swiglu", [x]);
  if (x.rank === 0 || x.shape.at(-1)! % 2 !== 0) {
    throw new ShapeError(
      `swiglu: expected x [..., 2 D], gates and what they let through, but got ${
        shapeText(x.shape)
      }`,
    );
  }
  return callSwiglu([x], null)[0]!;
}
