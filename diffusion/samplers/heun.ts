/**
 * Heun's second-order method as Karras et al. use it (arXiv 2206.00364, algorithm 1, deterministic),
 * on the variance-preserving process: in y = x / alpha and s = sigma / alpha, the probability flow is
 * dy/ds = (y - x_0(y, s)) / s.
 */
import { mul } from "../../autograd/mod.ts";
import { combine } from "../tensors.ts";
import type { Solver } from "./solver.ts";

/** A step of Heun's method: two calls of the model, one in the last step, which is Euler's. */
export const heunStep: Solver = ({ x, from, to, denoise }) => {
  const [s, next] = [from.sigma / from.alpha, to.sigma / to.alpha];
  const y = mul(x, 1 / from.alpha);
  const xStart = denoise(x, from);
  // y + (next - s) (y - x_0) / s
  const euler = combine(next / s, y, 1 - next / s, xStart);
  if (next === 0) return { sample: euler, predXstart: xStart };
  const slope = combine(1 / s, y, -1 / s, xStart);
  const x0Next = denoise(mul(euler, to.alpha), to);
  const slopeNext = combine(1 / next, euler, -1 / next, x0Next);
  const slopes = combine(0.5, slope, 0.5, slopeNext);
  return { sample: combine(to.alpha, y, to.alpha * (next - s), slopes), predXstart: xStart };
};
