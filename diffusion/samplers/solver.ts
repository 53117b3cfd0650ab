/** What solvers of the probability flow have in common: stops, and a step from one to the next. */
import type { Tensor } from "../../tensor/mod.ts";
import type { ForwardProcess } from "../forward_process.ts";
import type { StepResult } from "../reverse_process.ts";

/** A stop on the way from noise to data, where x = alpha x_0 + sigma eps. */
export interface Stop {
  /** Timestep; -1 for the data themselves. */
  readonly t: number;
  /** sqrt(alpha-bar_t): 1 for the data. */
  readonly alpha: number;
  /** sqrt(1 - alpha-bar_t): 0 for the data. */
  readonly sigma: number;
}

/** The stop at a timestep; the data themselves at -1. */
export function stopAt(process: ForwardProcess, t: number): Stop {
  if (t < 0) return { t: -1, alpha: 1, sigma: 0 };
  return {
    t,
    alpha: process.sqrtAlphasCumprod[t]!,
    sigma: process.sqrtOneMinusAlphasCumprod[t]!,
  };
}

/** A step to take. */
export interface SolverStep {
  /** [N, C, ...] at `from`. */
  readonly x: Tensor;
  readonly from: Stop;
  readonly to: Stop;
  /** The stop before `from` and the x_0 predicted there; undefined in the first step. */
  readonly before: { readonly stop: Stop; readonly xStart: Tensor } | undefined;
  /** The x_0 that the model predicts. */
  denoise(x: Tensor, at: Stop): Tensor;
}

/** Takes one step; `predXstart` is the model's prediction at `from`. */
export type Solver = (step: SolverStep) => StepResult;
