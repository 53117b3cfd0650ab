/**
 * DPM-Solver++(2M): second order with one call of the model a step, because it remembers the
 * prediction before (Lu et al., arXiv 2211.01095, algorithm 2).
 */
import { combine } from "../tensors.ts";
import type { Solver, Stop } from "./solver.ts";

/** Half the logarithm of the signal-to-noise ratio; infinite for the data themselves. */
const lambda = ({ alpha, sigma }: Stop): number => Math.log(alpha / sigma);

/** A step of DPM-Solver++(2M); the first and the last one are of first order, as DDIM. */
export const dpmSolverStep: Solver = ({ x, from, to, before, denoise }) => {
  const xStart = denoise(x, from);
  const h = lambda(to) - lambda(from);
  let d = xStart;
  if (before && to.sigma > 0) {
    const r = (lambda(from) - lambda(before.stop)) / h;
    d = combine(1 + 1 / (2 * r), xStart, -1 / (2 * r), before.xStart);
  }
  const sample = combine(to.sigma / from.sigma, x, -to.alpha * Math.expm1(-h), d);
  return { sample, predXstart: xStart };
};
