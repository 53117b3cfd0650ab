/**
 * Dynamic loss scaling for mixed precision (arXiv 1710.03740). The scale, whether a step overflowed
 * and whether it is skipped are decided on the device: nothing waits for the host.
 */
import { mul } from "../autograd/mod.ts";
import {
  checkOptionNames,
  constant,
  evaluateInto,
  evaluateOne,
  type Formula,
  full,
  outsideScopes,
  scope,
  type Tensor,
} from "../tensor/mod.ts";
import type { AdamW } from "./adamw.ts";
import type { Ema } from "./ema.ts";
import { clipFactor, countNonFinite, globalNorm } from "./gradients.ts";
import { assignState, type StateDict, type StateValue } from "./state.ts";

/**
 * What the scale is halved to at the least, unless it began below: the smallest number of f16 above 0.
 * PyTorch has no such limit, and so comes to a scale of 0 after enough overflows in a row, where all
 * gradients are NaN for ever after.
 */
const LEAST_SCALE = 2 ** -24;

/** Settings of {@link GradScaler}; PyTorch's defaults. */
export interface GradScalerOptions {
  /** 65536 */
  initialScale?: number;
  /** Factor after `growthInterval` good steps in a row; 2. */
  growthFactor?: number;
  /** Factor after a step that overflowed; 0.5. The scale does not fall below 2^-24 by it. */
  backoffFactor?: number;
  /** 2000 */
  growthInterval?: number;
  /** False makes every method do as if there were no scaling. */
  enabled?: boolean;
}

const DEFAULTS: Required<GradScalerOptions> = {
  initialScale: 2 ** 16,
  growthFactor: 2,
  backoffFactor: 0.5,
  growthInterval: 2000,
  enabled: true,
};

/** [scale, streak, skipped, overflow, growth, backoff, interval, least] -> [scale', streak', skipped'] */
const UPDATE: Formula = {
  name: "gradScaler:update",
  build: (scale, streak, skipped, overflow, growth, backoff, interval, least) => {
    const bad = overflow!.ne(0);
    const next = streak!.add(1);
    const grows = next.ge(interval!);
    const grown = grows.select(scale!.mul(growth!).min(constant(2 ** 126)), scale!);
    return [
      bad.select(scale!.mul(backoff!).max(least!), grown),
      bad.select(constant(0), grows.select(constant(0), next)),
      skipped!.add(bad.select(constant(1), 0)),
    ];
  },
};
const DIVIDE: Formula = { name: "divide", build: (a, b) => a!.div(b!) };

function check(wanted: string, value: number, fits: boolean): void {
  if (!fits) throw new RangeError(`GradScaler: expected ${wanted} but got ${value}`);
}

/** Scales losses up so that small gradients survive f16, and gradients back down. */
export class GradScaler implements Disposable {
  readonly #options: Required<GradScalerOptions>;
  readonly #scale: Tensor;
  readonly #streak: Tensor;
  readonly #skipped: Tensor;

  /** Lives on the current device, as the gradients must. */
  constructor(options: GradScalerOptions = {}) {
    checkOptionNames("GradScaler", options, DEFAULTS);
    this.#options = { ...DEFAULTS, ...options };
    const { initialScale, growthFactor, backoffFactor, growthInterval, enabled } = this.#options;
    check("a scale above 0", initialScale, initialScale > 0 && initialScale < Infinity);
    check("a growth factor above 1", growthFactor, growthFactor > 1 && growthFactor < Infinity);
    check(
      "a backoff factor between 0 and 1",
      backoffFactor,
      backoffFactor > 0 && backoffFactor < 1,
    );
    const steps = Number.isInteger(growthInterval) && growthInterval >= 1;
    check("a growth interval of 1 or more steps", growthInterval, steps);
    const cell = (value: number) => outsideScopes(() => full([], value));
    this.#scale = cell(enabled ? initialScale : 1);
    this.#streak = cell(0);
    this.#skipped = cell(0);
  }

  /** The loss times the scale, to call backward on. */
  scale(loss: Tensor): Tensor {
    return this.#options.enabled ? mul(loss, this.#scale) : loss;
  }

  /**
   * Lets the optimiser step with gradients scaled back, clipped where `maxNorm` is given; a step
   * with an infinity or NaN among the gradients changes nothing. Then adjusts the scale.
   *
   * @param options `skipNonFinite` leaves such steps out where there is no scaling, too; `ema` follows
   * the weights in the same pass.
   * @returns The norm of the gradients, scaled back: one number on the device.
   */
  step(
    optimizer: AdamW,
    options: { maxNorm?: number; skipNonFinite?: boolean; ema?: Ema } = {},
  ): Tensor {
    checkOptionNames("GradScaler.step", options, { maxNorm: 1, skipNonFinite: 1, ema: 1 });
    using s = scope("GradScaler");
    const grads = optimizer.flatGrads();
    const norm = globalNorm(grads, this.#scale);
    const one = full([], 1, { device: norm.device });
    const clip = options.maxNorm === undefined ? one : clipFactor(norm, options.maxNorm);
    const factor = evaluateOne("GradScaler", DIVIDE, [clip, this.#scale]);
    const follow = options.ema ? { ema: options.ema } : {};
    if (!this.#options.enabled && !options.skipNonFinite) {
      optimizer.step({ factor, ...follow });
      return s.keep(norm);
    }
    const overflow = countNonFinite([norm]); // one infinity or NaN makes the norm one
    optimizer.step({ factor, skip: overflow, ...follow });
    if (!this.#options.enabled) return s.keep(norm);
    const { initialScale, growthFactor, backoffFactor, growthInterval } = this.#options;
    const least = Math.min(LEAST_SCALE, initialScale);
    const cells = [this.#scale, this.#streak, this.#skipped];
    evaluateInto(
      "GradScaler",
      UPDATE,
      [...cells, overflow, growthFactor, backoffFactor, growthInterval, least],
      cells,
    );
    return s.keep(norm);
  }

  /** Reads scale, good steps in a row and steps skipped; waits for the device. */
  async state(): Promise<{ scale: number; streak: number; skipped: number }> {
    const [scale, streak, skipped] = await Promise.all(
      [this.#scale, this.#streak, this.#skipped].map((t) => t.item()),
    );
    return { scale: scale!, streak: streak!, skipped: skipped! };
  }

  /** `scale`, `streak`, `skipped`. Views, not copies. */
  stateDict(): StateDict {
    const cells = { scale: this.#scale, streak: this.#streak, skipped: this.#skipped };
    return new Map(Object.entries(cells).map(([name, t]) => [name, t.as([], [])]));
  }

  /** Takes the state of another run. */
  loadStateDict(state: ReadonlyMap<string, StateValue>): void {
    using _ = scope("GradScaler");
    assignState(this.stateDict(), state);
  }

  /** Frees its numbers. */
  dispose(): void {
    for (const t of [this.#scale, this.#streak, this.#skipped]) t.dispose();
  }
  /** `using scaler = ...` frees at the end of the block. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
