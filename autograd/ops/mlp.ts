/** Two linear layers with an activation between them, as one op. */
import {
  checkOperands,
  checkOptionNames,
  isReadThrough,
  product,
  reshaped,
  ShapeError,
  shapeText,
  type Tensor,
} from "../../tensor/mod.ts";
import { autocastDtype } from "../modes.ts";
import { defineOp } from "../op.ts";
import { ACTIVATION_GRADS, flipped, linearGrads, type Nonlinear, rowsOf } from "./matmul.ts";

/** What may stand between the layers. */
export type MlpActivation = Nonlinear;

/** Saved is what came before the activation, and what came after it where that is not computed again. */
const callMlp = defineOp<
  { activation: Nonlinear; half: boolean },
  readonly [Tensor, Tensor, Tensor | null, Tensor | null, Tensor]
>({
  name: "mlp",
  cast: "halfWeights",
  forward: ([x, w1, b1, w2, b2], { activation, half }, recording) => {
    const dtype = half ? { dtype: "f16" } as const : {};
    using rows = rowsOf(x!);
    using w1t = flipped(w1!);
    using w2t = flipped(w2!);
    const given = half ? "f16" : x!.dtype as "f32" | "f16";
    const readsThrough = recording && isReadThrough(x!.device, given);
    const first = readsThrough
      ? { bias: b1 ?? null, ...dtype }
      : { bias: b1 ?? null, activation, keepPre: recording, ...dtype };
    const { out: between, pre } = product("mlp", rows, w1t, first);
    using flat = product("mlp", between, w2t, {
      bias: b2 ?? null,
      activationA: readsThrough ? activation : "none",
      ...dtype,
    }).out;
    const out = reshaped(flat, [...x!.shape.slice(0, -1), w2!.shape[0]!]);
    return {
      out,
      saved: [x!, w1!, ...readsThrough ? [null, between] as const : [between, pre] as const, w2!],
    };
  },
  backward: ([g], [x, w1, hidden, pre, w2], { activation, half }, needs, into) => {
    const [needsX, needsW1, needsB1, needsW2, needsB2] = needs as [
      boolean,
      boolean,
      boolean,
      boolean,
      boolean,
    ];
    using dz2 = rowsOf(g!);
    const gradSecond = () =>
      linearGrads("mlp", dz2, hidden ?? pre!, w2, {
        needs: [false, needsW2, needsB2],
        into: (i) => into(i + 3),
        half,
        through: hidden ? "none" : activation,
      });
    if (!needsX && !needsW1 && !needsB1) {
      const [, dW2, dB2] = gradSecond();
      return [null, null, null, dW2, dB2];
    }
    const dtype = pre!.dtype as "f32" | "f16";
    // A hidden layer that was stored is freed before what is as large is made. Else the product back
    // to it comes right before that of the weights, which may share its launch.
    const early = hidden && gradSecond();
    hidden?.dispose();
    // back through the activation on the way out of the product
    using dz1 = product("mlp", dz2, w2, {
      dtype,
      combine: { formula: ACTIVATION_GRADS[activation], operand: pre! },
    }).out;
    const [, dW2, dB2] = early ?? gradSecond();
    const [dX, dW1, dB1] = linearGrads("mlp", dz1, x, w1, {
      needs: [needsX, needsW1, needsB1],
      into: (i) => into(i + 1),
      half,
    });
    return [dX, dW1, dB1, dW2, dB2];
  },
  samples: (["relu", "silu", "gelu", "geluTanh"] as const).flatMap((activation) => [
    {
      name: `with biases, ${activation}`,
      inputs: [
        { shape: [2, 5, 9] },
        { shape: [17, 9] },
        { shape: [17] },
        { shape: [6, 17] },
        { shape: [6] },
      ],
      call: ([x, w1, b1, w2, b2]: Tensor[]) => mlp(x!, w1!, b1!, w2!, b2!, { activation }),
    },
    {
      name: `one row, no bias, ${activation}`,
      inputs: [
        { shape: [7], strided: true },
        { shape: [5, 7], strided: true },
        { shape: [3, 5], strided: true },
      ],
      call: ([x, w1, w2]: Tensor[]) => mlp(x!, w1!, null, w2!, null, { activation }),
    },
  ]),
});

/** Settings of {@link mlp}. */
export interface MlpOptions {
  /** Between the layers; the tanh GELU by default. */
  activation?: MlpActivation;
}

/**
 * activation(x W1ᵀ + b1) W2ᵀ + b2 for x [..., I], w1 [H, I], b1 [H], w2 [O, H] and b2 [O]: [..., O].
 * As two linear layers, but that the gradient of what the activation gave is never stored. Weights
 * and biases may be f16 where x is f32.
 *
 * @throws {ShapeError} where the shapes do not fit.
 */
export function mlp(
  x: Tensor,
  w1: Tensor,
  b1: Tensor | null,
  w2: Tensor,
  b2: Tensor | null,
  options: MlpOptions = {},
): Tensor {
  checkOperands("mlp", [x, w1, b1, w2, b2], [2, 4]);
  const fitsBias = (b: Tensor | null, w: Tensor) => {
    return !b || (b.rank === 1 && b.shape[0] === w.shape[0]);
  };
  const fits = w1.rank === 2 && w2.rank === 2 && x.rank >= 1 && x.shape.at(-1) === w1.shape[1] &&
    w2.shape[1] === w1.shape[0] && fitsBias(b1, w1) && fitsBias(b2, w2);
  if (!fits) {
    throw new ShapeError(
      `mlp: expected x [..., I], w1 [H, I], b1 [H], w2 [O, H] and b2 [O] but got ${
        [x, w1, b1, w2, b2].map((t) => t ? shapeText(t.shape) : "none").join(", ")
      }`,
    );
  }
  checkOptionNames("mlp", options, { activation: 1 });
  const { activation = "geluTanh" } = options;
  if (!Object.hasOwn(ACTIVATION_GRADS, activation)) {
    throw new RangeError(
      `mlp: expected activation ${Object.keys(ACTIVATION_GRADS).join(", ")} but got ${activation}`,
    );
  }
  return callMlp([x, w1, b1, w2, b2], { activation, half: autocastDtype() !== null })[0]!;
}
