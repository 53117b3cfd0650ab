/** AdamW (arXiv 1711.05101), as one kernel over all parameters. */
import { keepHalf, Parameter, takeHalf } from "../autograd/mod.ts";
import {
  checkOptionNames,
  constant,
  contiguousStrides,
  evaluateInto,
  type Expr,
  type Formula,
  full,
  outsideScopes,
  scope,
  type Tensor,
  valueText,
} from "../tensor/mod.ts";
import { averaged, type Ema } from "./ema.ts";
import { type FlatBuffer, flatBuffersOf } from "./flat.ts";
import { assignState, type StateDict, type StateValue } from "./state.ts";

/** Usual decay of the first and second moment a step. */
export const ADAMW_BETAS: readonly [number, number] = [0.9, 0.999];

/** Settings of {@link AdamW}; PyTorch's defaults but for the weight decay, which is 0 as in DiT. */
export interface AdamWOptions {
  /** Learning rate; 1e-3. */
  lr?: number;
  /** Decay of the first and second moment a step; 0.9 and 0.999. */
  betas?: readonly [number, number];
  /** Added to the root of the second moment; 1e-8. */
  eps?: number;
  /** Part of the weight, times the learning rate, that is taken off a step; 0. */
  weightDecay?: number;
  /** Factor of the learning rate of a parameter, by its name; 1 for all by default. */
  lrScale?: (name: string) => number;
}

/** What a step reads from the device, without the host waiting for it. */
export interface StepSignals {
  /** One number that gradients are multiplied by (clipping, unscaling). */
  factor?: Tensor;
  /** One number: where it is not 0 the step changes nothing but the average. */
  skip?: Tensor;
  /** An average that follows the weights in the same pass over them, as its `update()` would. */
  ema?: Ema;
}

/** 1 - beta^step without cancellation: -expm1(step ln beta), a series where that is small. */
function biasCorrection(step: Expr, lnBeta: Expr): Expr {
  const z = step.mul(lnBeta);
  let series = z.mul(1 / 8).add(1);
  for (const n of [7, 6, 5, 4, 3, 2]) series = series.mul(z).mul(1 / n).add(1);
  return z.gt(-0.5).select(series.mul(z).neg(), z.exp().neg().add(1));
}

/**
 * [step, skip, factor, lr, ln b1, ln b2] -> [step', lr / (1 - b1^step'), 1 / sqrt(1 - b2^step'),
 * factor], the factor below 0 where the step is skipped.
 */
const PREPARE: Formula = {
  name: "AdamW prepare",
  build: (step, skip, factor, lr, ln1, ln2) => {
    const off = skip!.ne(0);
    const next = step!.add(off.select(constant(0), 1));
    const root = biasCorrection(next, ln2!).sqrt();
    return [
      next,
      lr!.div(biasCorrection(next, ln1!)),
      constant(1).div(root),
      off.select(constant(-1), factor!),
    ];
  },
};

/**
 * [p, g, m, v, factor, size, scale, inv, decay, b1, b2, eps, 1 - b1, 1 - b2] -> [p', m', v'], as
 * PyTorch orders it.
 */
function update(
  ...[p, g0, m, v, factor, size, scale, inv, decay, b1, b2, eps, c1, c2]: Expr[]
): [Expr, Expr, Expr] {
  const g = g0!.mul(factor!);
  const m1 = m!.mul(b1!).add(g.mul(c1!));
  const v1 = v!.mul(b2!).add(g.mul(g).mul(c2!));
  const p1 = p!.mul(decay!).sub(m1.mul(size!.mul(scale!)).div(v1.sqrt().mul(inv!).add(eps!)));
  const off = factor!.lt(0);
  return [off.select(p!, p1), off.select(m!, m1), off.select(v!, v1)];
}
const UPDATE: Formula = { name: "AdamW update", build: update };
/** [ema, d, 1 - d, ...as above] -> [p', m', v', ema'] */
function updateAndAverage(ema: Expr, d: Expr, rest: Expr, ...others: Expr[]): Expr[] {
  const [p, m, v] = update(...others);
  return [p, m, v, averaged(ema, p, d, rest)];
}

/** The weights once more, last, for a copy of another type. */
function andCopy(name: string, build: (...x: Expr[]) => Expr[]): Formula {
  return {
    name: `${name} and copy`,
    build: (...x) => {
      const outs = build(...x);
      return [...outs, outs[0]!];
    },
  };
}

const AVERAGING = "AdamW update and average";
const averaging = (...x: Expr[]) => updateAndAverage(x[0]!, x[1]!, x[2]!, ...x.slice(3));
const UPDATE_AND_AVERAGE: Formula = { name: AVERAGING, build: averaging };
const UPDATE_AND_COPY: Formula = andCopy("AdamW update", update);
const UPDATE_AVERAGE_AND_COPY: Formula = andCopy(AVERAGING, averaging);

/** Adam with decoupled weight decay over f32 parameters. */
export class AdamW implements Disposable {
  /** Learning rate; may be changed between steps. */
  lr: number;
  readonly #betas: readonly [number, number];
  readonly #eps: number;
  readonly #weightDecay: number;
  readonly #buffers: readonly FlatBuffer[];
  readonly #names: readonly string[];
  readonly #parameters: readonly Parameter[];
  /** Of each buffer, the factor of its learning rate. */
  readonly #scales: readonly number[];
  readonly #moments: readonly { readonly m: Tensor; readonly v: Tensor }[];
  /** Of buffers that are computed with in f16, copies of their weights. */
  readonly #halves: (Tensor | null)[] = [];
  /** Steps taken, skipped ones not counted; then what they make of learning rate and moments. */
  readonly #step: Tensor;
  readonly #size: Tensor;
  readonly #inverse: Tensor;
  readonly #factor: Tensor;
  readonly #zero: Tensor;
  readonly #one: Tensor;

  /**
   * Starts with moments of zero.
   *
   * @param parameters Those to train; frozen ones are left out. Named ones give the state its names,
   * others are numbered. They are moved into storage shared with each other.
   */
  constructor(
    parameters: Iterable<Parameter | readonly [string, Parameter]>,
    options: AdamWOptions = {},
  ) {
    const named = Array.from(
      parameters,
      (p, i) => Array.isArray(p) ? p as [string, Parameter] : [`${i}`, p as Parameter] as const,
    ).filter(([name, p]) => {
      if (p instanceof Parameter) return p.requiresGrad;
      throw new TypeError(`AdamW: expected a Parameter as ${name} but got ${valueText(p)}`);
    });
    if (named.length === 0) {
      throw new RangeError("AdamW: expected at least one trainable parameter");
    }
    checkOptionNames("AdamW", options, {
      lr: 1,
      betas: 1,
      eps: 1,
      weightDecay: 1,
      lrScale: 1,
    });
    const { lr = 1e-3, betas = ADAMW_BETAS, eps = 1e-8, weightDecay = 0 } = options;
    checkRange("lr", lr, 0, Infinity);
    checkRange("eps", eps, 0, Infinity);
    checkRange("weightDecay", weightDecay, 0, Infinity);
    if (betas.length !== 2) {
      throw new RangeError(`AdamW: expected two betas but got ${betas.length}`);
    }
    for (const beta of betas) checkRange("betas", beta, 0, 1 - Number.EPSILON);
    this.lr = lr;
    this.#betas = betas;
    this.#eps = eps;
    this.#weightDecay = weightDecay;
    this.#names = named.map(([name]) => name);
    this.#parameters = named.map(([, p]) => p);
    const groups = Map.groupBy(named, ([name]) => options.lrScale?.(name) ?? 1);
    const buffers = [...groups].flatMap(([scale, members]) => {
      checkRange("lrScale", scale, 0, Infinity);
      return flatBuffersOf(members.map(([, p]) => p), "AdamW").map((buffer) => ({ scale, buffer }));
    });
    this.#buffers = buffers.map(({ buffer }) => buffer);
    this.#scales = buffers.map(({ scale }) => scale);
    for (const buffer of this.#buffers) buffer.bindGrads();
    this.#moments = this.#buffers.map((buffer) => ({ m: buffer.like(), v: buffer.like() }));
    const { device } = this.#parameters[0]!;
    const cell = (value: number) => outsideScopes(() => full([], value, { device }));
    this.#step = cell(0);
    this.#size = cell(0);
    this.#inverse = cell(0);
    this.#factor = cell(0);
    this.#zero = cell(0);
    this.#one = cell(1);
  }

  /** The parameters it trains. */
  get parameters(): readonly Parameter[] {
    return this.#parameters;
  }

  /**
   * One step from the gradients there are; a parameter that backward did not reach counts as one
   * with gradient 0.
   */
  step(signals: StepSignals = {}): void {
    const { factor = this.#one, skip = this.#zero, ema } = signals;
    const [b1, b2] = this.#betas;
    evaluateInto(
      "AdamW",
      PREPARE,
      [this.#step, skip, factor, this.lr, Math.log(b1), Math.log(b2)],
      [this.#step, this.#size, this.#inverse, this.#factor],
    );
    this.#buffers.forEach((buffer, i) => {
      const { m, v } = this.#moments[i]!;
      const scale = this.#scales[i]!;
      const decay = 1 - this.lr * scale * this.#weightDecay;
      const grads = buffer.completeGrads();
      const args = [
        buffer.weights,
        grads,
        m,
        v,
        this.#factor,
        this.#size,
        scale,
        this.#inverse,
        decay,
        b1,
        b2,
        this.#eps,
        1 - b1,
        1 - b2,
      ];
      buffer.weights.checkLive("AdamW");
      const { storage } = buffer.weights;
      const half = this.#halfOf(i);
      const copies = half ? [half] : [];
      const outs = [buffer.weights, m, v];
      const average = ema?.averageOf(buffer);
      if (ema && average) {
        const { decay } = ema;
        const formula = half ? UPDATE_AVERAGE_AND_COPY : UPDATE_AND_AVERAGE;
        const all = [average, decay, 1 - decay, ...args];
        evaluateInto("AdamW", formula, all, [...outs, average, ...copies]);
      } else {
        evaluateInto("AdamW", half ? UPDATE_AND_COPY : UPDATE, args, [...outs, ...copies]);
      }
      storage.version++;
      if (half) keepHalf(storage, half);
    });
    ema?.updateBut(this.#buffers);
  }

  /** Where the f16 copy of a buffer's weights is kept; null where none computes with it. */
  #halfOf(i: number): Tensor | null {
    const half = takeHalf(this.#buffers[i]!.weights);
    this.#halves[i]?.dispose();
    return this.#halves[i] = half;
  }

  /** Forgets the gradients. */
  zeroGrad(): void {
    for (const p of this.#parameters) p.zeroGrad();
  }

  /** @internal What its parameters are gathered in. */
  get buffers(): readonly FlatBuffer[] {
    return this.#buffers;
  }

  /** Gradients as a few flat tensors, for norms and clipping. */
  flatGrads(): Tensor[] {
    return this.#buffers.map((buffer) => buffer.completeGrads());
  }

  /** Steps taken and moments: `step`, `NAME.expAvg`, `NAME.expAvgSq`. Views, not copies. */
  stateDict(): StateDict {
    const state: StateDict = new Map([["step", this.#step.as([], [])]]);
    this.#eachMoment((name, p, at, { m, v }) => {
      const strides = contiguousStrides(p.shape);
      state.set(`${name}.expAvg`, m.as(p.shape, strides, at));
      state.set(`${name}.expAvgSq`, v.as(p.shape, strides, at));
    });
    return state;
  }

  /**
   * Takes the state of another run of the same parameters.
   *
   * @throws {StateDictError} listing everything that is missing, unexpected or misshapen.
   */
  loadStateDict(state: ReadonlyMap<string, StateValue>): void {
    using _ = scope("AdamW");
    assignState(this.stateDict(), state);
  }

  #eachMoment(
    visit: (name: string, p: Parameter, at: number, moments: { m: Tensor; v: Tensor }) => void,
  ): void {
    const names = new Map(this.#parameters.map((p, i) => [p, this.#names[i]!]));
    this.#buffers.forEach((buffer, i) => {
      for (const [p, at] of buffer.members) visit(names.get(p)!, p, at, this.#moments[i]!);
    });
  }

  /** Frees the moments. */
  dispose(): void {
    for (const { m, v } of this.#moments) [m, v].forEach((t) => t.dispose());
    for (const half of this.#halves) half?.dispose();
    const cells = [
      this.#step,
      this.#size,
      this.#inverse,
      this.#factor,
      this.#zero,
      this.#one,
    ];
    for (const t of cells) t.dispose();
  }
  /** `using optimizer = ...` frees at the end of the block. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

function checkRange(name: string, value: number, low: number, high: number): void {
  if (!(value >= low && value <= high)) {
    throw new RangeError(`AdamW: expected ${name} in [${low}, ${high}] but got ${value}`);
  }
}
