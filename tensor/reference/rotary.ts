import type { KernelArgs } from "../kernels.ts";
import { floatsOf } from "./buffer.ts";
import type { Trials } from "./trial.ts";

/** See {@linkcode KernelArgs}. */
export function rotary({ x, cosine, sine, inverse, out }: KernelArgs["rotary"]): void {
  const [batch, tokens, heads, width] = x.shape as [number, number, number, number];
  const [X, C, S, Y] = [floatsOf(x), floatsOf(cosine), floatsOf(sine), floatsOf(out)];
  const [sb, st, sh] = x.strides as [number, number, number];
  const [ob, ot, oh] = out.strides as [number, number, number];
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < tokens; t++) {
      for (let h = 0; h < heads; h++) {
        const from = x.offset + b * sb + t * st + h * sh;
        const to = out.offset + b * ob + t * ot + h * oh;
        for (let d = 0; d < width; d += 2) {
          const at = t * width + d;
          const [cos, sin] = [C[cosine.offset + at]!, S[sine.offset + at]! * (inverse ? -1 : 1)];
          const [cos1, sin1] = [
            C[cosine.offset + at + 1]!,
            S[sine.offset + at + 1]! * (inverse ? -1 : 1),
          ];
          const [first, second] = [X[from + d]!, X[from + d + 1]!];
          Y[to + d] = first * cos - second * sin;
          Y[to + d + 1] = second * cos1 + first * sin1;
        }
      }
    }
  }
}

export const rotaryTrials: Trials<"rotary"> = [false, true].map((inverse) => (x) => ({
  x: x.input([2, 5, 3, 22]),
  cosine: x.input([5, 22]),
  sine: x.input([5, 22]),
  inverse,
  out: x.output([2, 5, 3, 22]),
}));
