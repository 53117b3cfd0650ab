/** An exponential moving average of a model's weights. */
import {
  checkOptionNames,
  contiguousStrides,
  copyInto,
  evaluateInto,
  type Expr,
  type Formula,
  scope,
  type Tensor,
} from "../tensor/mod.ts";
import { type FlatBuffer, flatBuffersOf } from "./flat.ts";
import type { Module } from "./module.ts";
import { assignState, type StateDict, type StateValue } from "./state.ts";

/** Settings of {@link Ema}. */
export interface EmaOptions {
  /** Part of the average that stays a step; 0.9999 as in DiT. */
  decay?: number;
  /**
   * Whether the decay starts low, min(decay, (1 + n) / (10 + n)) after n steps, so that a short run
   * has an average worth using.
   */
  warmup?: boolean;
  /**
   * Instead of a decay: the width of a power function average (arXiv 2312.02696, equation 5), its
   * standard deviation over the steps so far, above 0 and below 0.28. It forgets its beginning by
   * itself, however long a run gets.
   */
  power?: number;
}

/** Widths of power function averages are below that of a plain mean of all steps, 12^-0.5. */
const WIDEST = 12 ** -0.5;

/**
 * The exponent g of a power function average of a width s (arXiv 2312.02696, equation 126): the
 * largest root of g^3 + 7 g^2 + (16 - s^-2) g + (12 - s^-2), by bisection, as the width
 * (g + 1)^0.5 (g + 2)^-1 (g + 3)^-0.5 falls with it.
 */
export function powerExponent(width: number): number {
  if (!(width > 0 && width < WIDEST)) {
    throw new RangeError(`Ema: expected a power above 0 and below ${WIDEST} but got ${width}`);
  }
  const widthOf = (g: number) => Math.sqrt(g + 1) / ((g + 2) * Math.sqrt(g + 3));
  let [low, high] = [0, 1];
  while (widthOf(high) > width) high *= 2;
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2;
    if (widthOf(middle) > width) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** @internal ema * d + p * (1 - d) */
export function averaged(ema: Expr, p: Expr, d: Expr, rest: Expr): Expr {
  return ema.mul(d).add(p.mul(rest));
}
const AVERAGE: Formula = {
  name: "average",
  build: (ema, p, d, rest) => averaged(ema!, p!, d!, rest!),
};
const EXCHANGE: Formula = { name: "exchange", build: (a, b) => [b!, a!] };

/** The average of a model's parameters, frozen ones included. */
export class Ema implements Disposable {
  /** Updates so far. */
  step = 0;
  readonly #model: Module;
  readonly #decay: number;
  readonly #warmup: boolean;
  /** Of a power function average; null of an exponential one. */
  readonly #exponent: number | null;
  readonly #buffers: readonly { readonly buffer: FlatBuffer; readonly average: Tensor }[];
  #swapped = false;

  /** Starts as a copy of the weights of `model` as they are. */
  constructor(model: Module, options: EmaOptions = {}) {
    checkOptionNames("Ema", options, { decay: 1, warmup: 1, power: 1 });
    const { decay = 0.9999, warmup = false, power } = options;
    if (!(decay >= 0 && decay <= 1)) {
      throw new RangeError(`Ema: expected a decay in [0, 1] but got ${decay}`);
    }
    this.#model = model;
    this.#decay = decay;
    this.#warmup = warmup;
    this.#exponent = power === undefined ? null : powerExponent(power);
    this.#buffers = flatBuffersOf(model.parameters(), "Ema").map((buffer) => {
      const average = buffer.like();
      copyInto(buffer.weights, average, "Ema");
      return { buffer, average };
    });
  }

  /** The decay of the next update. */
  get decay(): number {
    // (1 - 1 / t)^(g + 1) of update t, the first of which takes the weights as they are
    if (this.#exponent !== null) return (1 - 1 / (this.step + 1)) ** (this.#exponent + 1);
    return this.#warmup ? Math.min(this.#decay, (1 + this.step) / (10 + this.step)) : this.#decay;
  }

  /** @internal The average of the weights of a buffer; null where it has none. */
  averageOf(wanted: FlatBuffer): Tensor | null {
    if (this.#swapped) throw new Error("Ema: expected update() while the weights are in place");
    return this.#buffers.find(({ buffer }) => buffer === wanted)?.average ?? null;
  }

  /** Moves the average towards the weights. */
  update(): void {
    this.updateBut([]);
  }

  /** @internal The same but for the averages of buffers that the optimiser has moved. */
  updateBut(moved: readonly FlatBuffer[]): void {
    if (this.#swapped) throw new Error("Ema: expected update() while the weights are in place");
    const { decay } = this;
    for (const { buffer, average } of this.#buffers) {
      if (moved.includes(buffer)) continue;
      evaluateInto("Ema", AVERAGE, [average, buffer.weights, decay, 1 - decay], [average]);
    }
    this.step++;
  }

  /**
   * Runs `fn` with the average in the model and the weights out of it, then changes them back. No
   * memory is needed for it.
   */
  async swapped<T>(fn: () => T | Promise<T>): Promise<T> {
    if (this.#swapped) throw new Error("Ema: expected swapped() while the weights are in place");
    this.#exchange();
    try {
      return await fn();
    } finally {
      this.#exchange();
    }
  }

  #exchange(): void {
    for (const { buffer, average } of this.#buffers) {
      evaluateInto("Ema", EXCHANGE, [buffer.weights, average], [buffer.weights, average]);
      buffer.weights.storage.version++;
    }
    this.#swapped = !this.#swapped;
  }

  /** The averages by the model's names. Views, not copies. */
  stateDict(): StateDict {
    const names = new Map(Array.from(this.#model.namedParameters(), ([name, p]) => [p, name]));
    const found = new Map<string, Tensor>();
    for (const { buffer, average } of this.#buffers) {
      const source = this.#swapped ? buffer.weights : average;
      for (const [p, at] of buffer.members) {
        found.set(names.get(p)!, source.as(p.shape, contiguousStrides(p.shape), at));
      }
    }
    return new Map([...names.values()].map((name) => [name, found.get(name)!]));
  }

  /**
   * Takes averages from elsewhere.
   *
   * @throws {StateDictError} listing everything that is missing, unexpected or misshapen.
   */
  loadStateDict(state: ReadonlyMap<string, StateValue>): void {
    using _ = scope("Ema");
    assignState(this.stateDict(), state);
  }

  /** Frees the averages. */
  dispose(): void {
    for (const { average } of this.#buffers) average.dispose();
  }
  /** `using ema = ...` frees at the end of the block. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
