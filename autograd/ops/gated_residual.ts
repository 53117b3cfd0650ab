/** What a gate lets through of a branch, added to what went past it. */
import {
  checkOperands,
  commonFloat,
  contiguous,
  copy,
  dispatch,
  type DType,
  empty,
  evaluateOne,
  fillInto,
  GATED,
  sameShape,
  ShapeError,
  shapeText,
  type Tensor,
  unitInner,
} from "../../tensor/mod.ts";
import { autocastDtype } from "../modes.ts";
import { defineOp } from "../op.ts";
import { chunk } from "./parts.ts";

/** gate [B, N] as [B, 1, N]. */
function overTokens(gate: Tensor): Tensor {
  const [b, n] = gate.shape as [number, number];
  const [sample, element] = gate.strides as [number, number];
  return gate.as([b, 1, n], [sample, 0, element]);
}

const callGatedResidual = defineOp<{ dtype: DType }, readonly [Tensor, Tensor]>({
  name: "gatedResidual",
  cast: "asGiven",
  forward: ([x, gate, h]) => {
    const all = [x!, gate!, h!];
    if (autocastDtype() === null) commonFloat("gatedResidual", all);
    const dtype = all.some((t) => t.dtype === "f32") ? "f32" : "f16";
    using wide = overTokens(gate!);
    const out = evaluateOne("gatedResidual", GATED, [x!, wide, h!], { dtype });
    return { out, saved: [unitInner(gate!, "gatedResidual"), contiguous(h!, "gatedResidual")] };
  },
  backward: ([g], [gate, h], { dtype }, needs, into) => {
    const op = "gatedResidual";
    const past = !needs[0] ? null : g!.dtype === dtype ? g! : copy(g!, dtype, op);
    if (!needs[1] && !needs[2]) return [past, null, null];
    const place = into(1);
    const fits = place?.dtype === gate.dtype && place.strides.at(-1) === 1;
    const dGate = fits ? place : empty(gate.device, gate.dtype, gate.shape, op);
    const dx = empty(h.device, h.dtype, h.shape, op);
    if (dx.size > 0) {
      const args = { x: h, gate, g: contiguous(g!, op), dx, dGate };
      dispatch(op, "gateGrad", h.device, args);
    } else fillInto(dGate, 0, op);
    return [past, needs[1] ? dGate : null, needs[2] ? dx : null];
  },
  samples: [
    {
      name: "17 channels",
      inputs: [{ shape: [2, 5, 17] }, { shape: [2, 17] }, { shape: [2, 5, 17] }],
      call: ([x, gate, h]) => gatedResidual(x!, gate!, h!),
    },
    {
      name: "strided, of gates that are parts",
      inputs: [
        { shape: [3, 4, 8], strided: true },
        { shape: [3, 24] },
        { shape: [3, 4, 8], strided: true },
      ],
      call: ([x, gates, h]) => {
        const [first, second, third] = chunk(gates!, 3, 1) as [Tensor, Tensor, Tensor];
        return gatedResidual(gatedResidual(gatedResidual(x!, first, h!), third, h!), second, h!);
      },
    },
  ],
});

/**
 * x + gate h for x and h [B, T, N] with one gate [B, N] a sample, as adaLN-Zero has it
 * (arXiv 2212.09748).
 *
 * @throws {ShapeError} where the shapes do not fit.
 */
export function gatedResidual(x: Tensor, gate: Tensor, h: Tensor): Tensor {
  checkOperands("gatedResidual", [x, gate, h]);
  const fits = x.rank === 3 && sameShape(h.shape, x.shape) &&
    sameShape(gate.shape, [x.shape[0]!, x.shape[2]!]);
  if (!fits) {
    throw new ShapeError(
      `gatedResidual: expected x and h [B, T, N] and a gate [B, N] but got ${
        [x, h, gate].map((t) => shapeText(t.shape)).join(", ")
      }`,
    );
  }
  return callGatedResidual([x, gate, h], { dtype: x.dtype })[0]!;
}
