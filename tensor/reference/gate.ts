import type { KernelArgs } from "../kernels.ts";
import { floatsOf } from "./buffer.ts";
import { collector, reader } from "./per_sample.ts";
import type { Trials } from "./trial.ts";

/** See {@linkcode KernelArgs}. */
export function gateGrad({ x, gate, g, dx, dGate }: KernelArgs["gateGrad"]): void {
  const [batch, tokens, width] = x.shape as [number, number, number];
  const [X, G, DX] = [floatsOf(x), floatsOf(g), floatsOf(dx)];
  const [gateAt, addGate] = [reader(gate, 1), collector(dGate)];
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < tokens; t++) {
      for (let n = 0; n < width; n++) {
        const i = (b * tokens + t) * width + n;
        DX[dx.offset + i] = G[g.offset + i]! * gateAt(b, n);
        addGate(b, n, G[g.offset + i]! * X[x.offset + i]!);
      }
    }
  }
}

export const gateGradTrials: Trials<"gateGrad"> = [(x) => ({
  x: x.input([2, 5, 67]),
  gate: x.input([2, 67]),
  g: x.input([2, 5, 67]),
  dx: x.output([2, 5, 67]),
  dGate: x.output([2, 67]),
})];
