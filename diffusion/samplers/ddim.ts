/** The arithmetic of DDIM (Song et al., arXiv 2010.02502), which the solvers start and end with. */
import type { NoiseLevel } from "../process.ts";

/** How the x of a step's end is made up. */
export interface DdimWeights {
  /** Weight of x_0. */
  readonly xStart: number;
  /** Weight of the noise in x. */
  readonly eps: number;
  /** Standard deviation of fresh noise (eq. 16 there). */
  readonly fresh: number;
}

/**
 * The weights of a step between two levels (eq. 12 there). The fresh noise is that of eta = 1 in the
 * posterior q(x' | x, x_0), scaled: sigma' sqrt(1 - (alpha sigma' / alpha' sigma)^2), which is eq. 16
 * where alpha^2 + sigma^2 is 1.
 *
 * @param eta 0 is deterministic, 1 as random as DDPM.
 */
export function ddimWeights(from: NoiseLevel, to: NoiseLevel, eta = 0): DdimWeights {
  if (eta === 0) return { xStart: to.alpha, eps: to.sigma, fresh: 0 };
  const left = (from.alpha * to.sigma) / (to.alpha * from.sigma);
  const fresh = eta * to.sigma * Math.sqrt(1 - left ** 2);
  return { xStart: to.alpha, eps: Math.sqrt(to.sigma ** 2 - fresh ** 2), fresh };
}

/**
 * Refuses an eta that is out of range.
 *
 * @throws {RangeError}
 */
export function checkEta(op: string, eta: number): void {
  if (!(eta >= 0 && eta <= 1)) {
    throw new RangeError(`${op}: expected eta in [0, 1] but got ${eta}`);
  }
}
