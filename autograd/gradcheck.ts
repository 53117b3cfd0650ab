/** Checking gradients against float64 central differences, for tests and for users. */
import {
  checkOptionNames,
  type Device,
  type Generator,
  GradientError,
  type HostArray,
  init,
  type Scope,
  scope,
  setDevice,
  shapeText,
  type Tensor,
  tensor,
} from "../tensor/mod.ts";
import { gradients } from "./backward.ts";
import { noteDraws, replayDraws } from "./checkpoint.ts";
import { noGrad } from "./modes.ts";
import { cast, mirrorOperands, watchOperands } from "./op.ts";
import { add, mul } from "./ops/elementwise.ts";
import { sum } from "./ops/reduce.ts";
import { Parameter } from "./parameter.ts";

/** Settings of {@link gradcheck}. */
export interface GradcheckOptions {
  /** Largest |gradient - difference| over the largest difference of the tensor; 1e-3. */
  tolerance?: number;
  /** Absolute differences below this are equal: for gradients that are zero; 1e-6. */
  absolute?: number;
  /** Step of the central differences, in float64; 1e-5. */
  step?: number;
  /** Most elements of each input to check, evenly spread; all by default. */
  samples?: number;
}

/** How one input fared. */
export interface GradcheckResult {
  /** Largest error over the largest difference. */
  error: number;
  /** Elements compared. */
  compared: number;
}

/**
 * Compares the gradients of `fn` on the current device with central differences in float64 on the
 * reference device.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { gradcheck, init, mul, sigmoid, tensor } from "@dit/core";
 *
 * await init({ device: "wasm" });
 * using x = tensor([0.5, -1, 2]);
 * const [result] = await gradcheck((x) => mul(x, sigmoid(x)), [x]); // throws where they differ
 * assertEquals(result!.compared, 3);
 * ```
 *
 * @param fn Gives a tensor or several, which are weighted by fixed numbers and summed. It may use
 * parameters and constants of its own; they are copied to the reference.
 * @param inputs Float tensors to differentiate by; parameters that `fn` closes over may be among
 * them, and are then varied in place of the ones it uses.
 * @returns How each input fared.
 * @throws {GradientError} naming the worst element, where one is beyond the tolerance.
 */
export async function gradcheck(
  fn: (...inputs: Tensor[]) => Tensor | Tensor[],
  inputs: readonly Tensor[],
  options: GradcheckOptions = {},
): Promise<GradcheckResult[]> {
  const known = { tolerance: 1, absolute: 1, step: 1, samples: 1 };
  checkOptionNames("gradcheck", options, known);
  const { tolerance = 1e-3, absolute = 1e-6, step = 1e-5, samples = Infinity } = options;
  const { analytic, draws, used } = deviceGradients(fn, inputs);
  const got = await Promise.all(analytic.map((g) => g.data()));
  analytic.forEach((g) => g.dispose());
  const check = await ReferenceFunction.create(fn, inputs, used, draws);
  const results: GradcheckResult[] = [];
  for (const [k, input] of inputs.entries()) {
    const count = Math.min(input.size, samples);
    const wanted = new Float64Array(count);
    const place = (i: number) => Math.floor(i * input.size / count);
    for (let i = 0; i < count; i++) {
      const up = await check.at(k, place(i), step);
      const down = await check.at(k, place(i), -step);
      wanted[i] = (up - down) / (2 * step);
    }
    results.push(compare(k, input, got[k]!, wanted, place, tolerance, absolute));
  }
  return results;
}

function compare(
  k: number,
  input: Tensor,
  got: HostArray,
  wanted: Float64Array,
  place: (i: number) => number,
  tolerance: number,
  absolute: number,
): GradcheckResult {
  const scale = wanted.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  let error = 0;
  for (const [i, want] of wanted.entries()) {
    const off = Math.abs(got[place(i)]! - want);
    if (scale > 0) error = Math.max(error, off / scale);
    if (off <= absolute) continue;
    if (!(off <= tolerance * scale)) {
      throw new GradientError(
        `gradcheck: input ${k} of shape ${shapeText(input.shape)}, element ${place(i)}: expected ` +
          `${want} by central differences (the largest is ${scale}) but got ${got[place(i)]}`,
      );
    }
  }
  return { error, compared: wanted.length };
}

/** Fixed weights between 0.5 and 1.5, so that no error cancels. */
const weight = (k: number, i: number) => 1 + 0.5 * Math.sin(12.9898 * (i + 1) + 78.233 * k);

type Checked = (...inputs: Tensor[]) => Tensor | Tensor[];

const asList = (x: Tensor | Tensor[]): Tensor[] => Array.isArray(x) ? x : [x];

function isInside(s: Scope | null, outer: Scope): boolean {
  for (let at = s; at; at = at.parent) if (at === outer) return true;
  return false;
}

/** Gradients on the current device, and what `fn` used that was made before it ran. */
function deviceGradients(
  fn: Checked,
  inputs: readonly Tensor[],
): { analytic: Tensor[]; draws: Map<Generator, number>; used: Set<Tensor> } {
  using s = scope("gradcheck");
  const leaves = inputs.map((t) =>
    t instanceof Parameter ? t : new Parameter(t.as(t.shape, t.strides))
  );
  const used = new Set<Tensor>();
  const see = (t: Tensor) => {
    if (!isInside(t.scope, s) && !leaves.includes(t as Parameter)) used.add(t);
  };
  const { result, draws } = noteDraws(() => watchOperands(see, () => fn(...leaves)));
  const loss = asList(result).map((out, k) => {
    const weights = Float64Array.from({ length: out.size }, (_, i) => weight(k, i));
    const wide = cast(out, "f32");
    return sum(mul(wide, tensor(weights, out.shape, { dtype: "f32", device: out.device })));
  }).reduce((a, b) => add(a, b));
  return { analytic: s.keep(gradients(loss, leaves)), draws, used };
}

/** `fn` in float64, as a function of one element at a time. */
class ReferenceFunction {
  private constructor(
    readonly fn: Checked,
    readonly inputs: readonly Tensor[],
    readonly values: readonly HostArray[],
    readonly device: Device,
    readonly constants: ReadonlyMap<Tensor, HostArray>,
    readonly draws: ReadonlyMap<Generator, number>,
  ) {}

  static async create(
    fn: Checked,
    inputs: readonly Tensor[],
    used: ReadonlySet<Tensor>,
    draws: ReadonlyMap<Generator, number>,
  ): Promise<ReferenceFunction> {
    const values = await Promise.all(inputs.map((t) => t.data()));
    const constants = new Map<Tensor, HostArray>();
    for (const t of used) constants.set(t, await t.data());
    const before = setDevice(inputs[0]!.device);
    const reference = await init({ device: "reference" });
    if (before) setDevice(before);
    return new ReferenceFunction(fn, inputs, values, reference, constants, draws);
  }

  /** The weighted sum of the outputs with element `place` of input `k` moved by `delta`. */
  async at(k: number, place: number, delta: number): Promise<number> {
    using s = scope("gradcheck");
    const before = setDevice(this.device);
    let outs: Tensor[];
    try {
      const copies = new Map<Tensor, Tensor>();
      const leaves = this.inputs.map((t, i) => {
        const data = Float64Array.from(this.values[i]!);
        if (i === k) data[place]! += delta;
        const leaf = tensor(data, t.shape, { dtype: "f32" });
        copies.set(t, leaf);
        return leaf;
      });
      // before any scope of `fn`, which would free what a later part of it uses again
      for (const [t, data] of this.constants) {
        copies.set(t, tensor(data, t.shape, { dtype: t.dtype }));
      }
      const through = (t: Tensor) => t.device === this.device ? t : this.#mirrored(t, copies);
      const run = () => noGrad(() => mirrorOperands(through, () => this.fn(...leaves)));
      outs = asList(replayDraws(this.draws, run));
    } finally {
      if (before) setDevice(before);
    }
    let total = 0;
    const reads = outs.map((t) => t.data()); // the scope may close: reads hold what they need
    s[Symbol.dispose]();
    for (const [i, read] of reads.entries()) {
      (await read).forEach((v, j) => total += v * weight(i, j));
    }
    return total;
  }

  #mirrored(t: Tensor, copies: Map<Tensor, Tensor>): Tensor {
    const copy = copies.get(t);
    if (copy) return copy;
    throw new GradientError(
      `gradcheck: expected a function that uses the same tensors every time but got ${t} anew`,
    );
  }
}
