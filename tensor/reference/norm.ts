import type { KernelArgs } from "../kernels.ts";
import type { View } from "../view.ts";
import { floatsOf } from "./buffer.ts";
import { gateGrad } from "./gate.ts";
import { ACTIVATIONS, siluDerivative } from "./math.ts";
import { collector, reader } from "./per_sample.ts";
import type { Arrays, Trials } from "./trial.ts";

/**
 * Mean (0 where it is not `centred`) and 1 / sqrt(variance around it + eps) of `length` elements
 * from `at` on.
 */
function moments(
  data: Float64Array,
  at: number,
  length: number,
  eps: number,
  centred = true,
): [number, number] {
  let mean = 0;
  if (centred) { for (let n = 0; n < length; n++) mean += data[at + n]!; }
  mean /= length;
  let variance = 0;
  for (let n = 0; n < length; n++) variance += (data[at + n]! - mean) ** 2;
  return [mean, 1 / Math.sqrt(variance / length + eps)];
}

/** x + gate branch, [B, T, N]. */
function addGated(x: View, branch: View, gate: View, out: View): void {
  const [batch, tokens, width] = x.shape as [number, number, number];
  const [X, H, Y] = [floatsOf(x), floatsOf(branch), floatsOf(out)];
  const gateAt = reader(gate, 0);
  for (let i = 0; i < batch * tokens * width; i++) {
    const [b, n] = [Math.floor(i / (tokens * width)), i % width];
    Y[out.offset + i] = X[x.offset + i]! + gateAt(b, n) * H[branch.offset + i]!;
  }
}

/** See {@linkcode KernelArgs}. */
export function layerNorm(args: KernelArgs["layerNorm"]): void {
  const { weight, bias, scale, shift, eps, centred, out, mean, rstd } = args;
  const { branch = null, gate = null, summed = null } = args;
  const x = summed ?? args.x;
  if (summed) addGated(args.x, branch!, gate!, summed);
  const [batch, tokens, width] = x.shape as [number, number, number];
  const [X, Y, means, rstds] = [floatsOf(x), floatsOf(out), floatsOf(mean), floatsOf(rstd)];
  const [weightAt, biasAt] = [reader(weight, 1), reader(bias, 0)];
  const [scaleAt, shiftAt] = [reader(scale, 0), reader(shift, 0)];
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < tokens; t++) {
      const row = b * tokens + t;
      const at = x.offset + row * width;
      const [mu, r] = moments(X, at, width, eps, centred);
      means[mean.offset + row] = mu;
      rstds[rstd.offset + row] = r;
      for (let n = 0; n < width; n++) {
        const affine = (X[at + n]! - mu) * r * weightAt(b, n) + biasAt(b, n);
        Y[out.offset + row * width + n] = affine * (1 + scaleAt(b, n)) + shiftAt(b, n);
      }
    }
  }
}

/**
 * See {@linkcode KernelArgs}. With z = (x - mean) rstd: dx = rstd (dz - mean(dz) - z mean(dz z)),
 * without mean(dz) where it is not centred.
 */
export function layerNormGrad(args: KernelArgs["layerNormGrad"]): void {
  const { x, g, weight, scale, centred, mean, rstd, residual, dx } = args;
  const [batch, tokens, width] = x.shape as [number, number, number];
  const past = residual && floatsOf(residual);
  const [X, G, DX] = [floatsOf(x), floatsOf(g), floatsOf(dx)];
  const [means, rstds] = [floatsOf(mean), floatsOf(rstd)];
  const [weightAt, scaleAt] = [reader(weight, 1), reader(scale, 0)];
  const [addWeight, addBias] = [collector(args.dWeight), collector(args.dBias)];
  const [addScale, addShift] = [collector(args.dScale), collector(args.dShift)];
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < tokens; t++) {
      const row = b * tokens + t;
      const mu = means[mean.offset + row]!;
      const r = rstds[rstd.offset + row]!;
      let sum = 0;
      let sumZ = 0;
      for (let n = 0; n < width; n++) {
        const z = (X[x.offset + row * width + n]! - mu) * r;
        const grad = G[g.offset + row * width + n]!;
        const dz = grad * weightAt(b, n) * (1 + scaleAt(b, n));
        if (centred) sum += dz;
        sumZ += dz * z;
        addWeight(b, n, grad * z);
        addBias(b, n, grad);
        addScale(b, n, grad * z);
        addShift(b, n, grad);
      }
      for (let n = 0; n < width; n++) {
        const z = (X[x.offset + row * width + n]! - mu) * r;
        const dz = G[g.offset + row * width + n]! * weightAt(b, n) * (1 + scaleAt(b, n));
        const own = r * (dz - sum / width - z * sumZ / width);
        DX[dx.offset + row * width + n] = own +
          (residual ? past![residual.offset + row * width + n]! : 0);
      }
    }
  }
  const { branch = null, gate = null, dBranch = null, dGate = null } = args;
  if (branch) gateGrad({ x: branch, gate: gate!, g: dx, dx: dBranch!, dGate: dGate! });
}

/** See {@linkcode KernelArgs}. */
export function groupNorm(args: KernelArgs["groupNorm"]): void {
  const { x, weight, bias, groups, eps, silu, out, mean, rstd } = args;
  const [batch, channels, spatial] = x.shape as [number, number, number];
  const [X, Y, means, rstds] = [floatsOf(x), floatsOf(out), floatsOf(mean), floatsOf(rstd)];
  const [weightAt, biasAt] = [reader(weight, 1), reader(bias, 0)];
  const activation = ACTIVATIONS[silu ? "silu" : "none"];
  const perGroup = channels / groups * spatial;
  for (let b = 0; b < batch; b++) {
    for (let group = 0; group < groups; group++) {
      const row = b * groups + group;
      const [mu, r] = moments(X, x.offset + row * perGroup, perGroup, eps);
      means[mean.offset + row] = mu;
      rstds[rstd.offset + row] = r;
      for (let i = 0; i < perGroup; i++) {
        const c = group * (channels / groups) + Math.floor(i / spatial);
        const z = (X[x.offset + row * perGroup + i]! - mu) * r;
        Y[out.offset + row * perGroup + i] = activation(z * weightAt(b, c) + biasAt(b, c));
      }
    }
  }
}

/** See {@linkcode KernelArgs}. As for layerNormGrad, a group at a time. */
export function groupNormGrad(args: KernelArgs["groupNormGrad"]): void {
  const { x, g, weight, bias, groups, silu, mean, rstd, dx } = args;
  const [batch, channels, spatial] = x.shape as [number, number, number];
  const [X, G, DX] = [floatsOf(x), floatsOf(g), floatsOf(dx)];
  const [means, rstds] = [floatsOf(mean), floatsOf(rstd)];
  const [weightAt, biasAt] = [reader(weight, 1), reader(bias, 0)];
  const [addWeight, addBias] = [collector(args.dWeight), collector(args.dBias)];
  const perGroup = channels / groups * spatial;
  const zs = new Float64Array(perGroup);
  const dzs = new Float64Array(perGroup);
  for (let b = 0; b < batch; b++) {
    for (let group = 0; group < groups; group++) {
      const row = b * groups + group;
      const mu = means[mean.offset + row]!;
      const r = rstds[rstd.offset + row]!;
      let sum = 0;
      let sumZ = 0;
      for (let i = 0; i < perGroup; i++) {
        const c = group * (channels / groups) + Math.floor(i / spatial);
        const z = (X[x.offset + row * perGroup + i]! - mu) * r;
        let grad = G[g.offset + row * perGroup + i]!;
        if (silu) grad *= siluDerivative(z * weightAt(b, c) + biasAt(b, c));
        const dz = grad * weightAt(b, c);
        zs[i] = z;
        dzs[i] = dz;
        sum += dz;
        sumZ += dz * z;
        addWeight(b, c, grad * z);
        addBias(b, c, grad);
      }
      for (let i = 0; i < perGroup; i++) {
        DX[dx.offset + row * perGroup + i] = r *
          (dzs[i]! - sum / perGroup - zs[i]! * sumZ / perGroup);
      }
    }
  }
}

export const layerNormTrials: Trials<"layerNorm"> = [
  (x) => ({
    x: x.input([2, 5, 67]),
    weight: null,
    bias: null,
    scale: x.input([2, 67]),
    shift: x.input([2, 67]),
    eps: 1e-6,
    centred: true,
    out: x.output([2, 5, 67]),
    mean: x.output([2, 5], "f32"),
    rstd: x.output([2, 5], "f32"),
  }),
  (x) => ({
    x: x.input([2, 5, 67]),
    branch: x.input([2, 5, 67]),
    gate: x.input([2, 67]),
    summed: x.output([2, 5, 67]),
    weight: null,
    bias: null,
    scale: x.input([2, 67]),
    shift: x.input([2, 67]),
    eps: 1e-6,
    centred: true,
    out: x.output([2, 5, 67]),
    mean: x.output([2, 5], "f32"),
    rstd: x.output([2, 5], "f32"),
  }),
];

export const layerNormGradTrials: Trials<"layerNormGrad"> = [
  (x) => ({
    ...normalized(x),
    weight: null,
    scale: x.input([2, 67]),
    residual: x.input([2, 5, 67]),
    branch: x.input([2, 5, 67]),
    gate: x.input([2, 67]),
    dBranch: x.output([2, 5, 67]),
    dGate: x.output([2, 67]),
    dWeight: null,
    dBias: null,
    dScale: x.output([2, 67]),
    dShift: x.output([2, 67]),
  }),
  (x) => ({
    ...normalized(x),
    weight: null,
    scale: x.input([2, 67]),
    residual: x.input([2, 5, 67]),
    dWeight: null,
    dBias: null,
    dScale: x.output([2, 67]),
    dShift: x.output([2, 67]),
  }),
  (x) => ({
    ...normalized(x),
    weight: x.input([67]),
    scale: null,
    dWeight: x.output([67]),
    dBias: x.output([67]),
    dScale: null,
    dShift: null,
  }),
];

export const groupNormTrials: Trials<"groupNorm"> = [(x) => ({
  x: x.input([2, 6, 35]),
  weight: x.input([6]),
  bias: x.input([6]),
  groups: 3,
  eps: 1e-6,
  silu: true,
  out: x.output([2, 6, 35]),
  mean: x.output([2, 3], "f32"),
  rstd: x.output([2, 3], "f32"),
})];

export const groupNormGradTrials: Trials<"groupNormGrad"> = [(x) => ({
  x: x.input([2, 6, 35]),
  g: x.input([2, 6, 35]),
  weight: x.input([6]),
  bias: x.input([6]),
  groups: 3,
  silu: true,
  mean: x.single([2, 3]),
  rstd: x.single([2, 3], 1, 2),
  dx: x.output([2, 6, 35]),
  dWeight: x.output([6]),
  dBias: x.output([6]),
})];

/** What both kinds of layerNormGrad are given. */
function normalized(
  x: Arrays,
): Pick<KernelArgs["layerNormGrad"], "x" | "g" | "centred" | "mean" | "rstd" | "dx"> {
  return {
    x: x.input([2, 5, 67]),
    g: x.input([2, 5, 67]),
    centred: true,
    mean: x.single([2, 5]),
    rstd: x.single([2, 5], 1, 2),
    dx: x.output([2, 5, 67]),
  };
}
