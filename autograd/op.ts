/**
 * How an op is declared: one row with its forward, its gradient and its samples. The generic test
 * walks the rows, so one without samples fails.
 */
import {
  checkDType,
  checkOperands,
  commonDevice,
  copy,
  copyInto,
  type DType,
  empty,
  isFloat,
  scope,
  type Shape,
  type Tensor,
} from "../tensor/mod.ts";
import { autocastDtype, isRecording, noGrad } from "./modes.ts";
import { halfWeight } from "./half_weights.ts";
import { hold, isLeaf, type Places, record, requiresGrad } from "./tape.ts";

/** An op's operands; null for an optional one that was left out. */
export type Operands = readonly (Tensor | null)[];

/**
 * What an op does under autocast: compute in half, in single, or in the widest of its operands; or
 * take operands as they are, which its kernel widens as it reads them (`halfWeights`: but f16 copies
 * of weights).
 */
export type CastRule = "half" | "single" | "widest" | "asGiven" | "halfWeights";

/** How the generic test makes one operand. */
export interface SampleInput {
  /** Dimensions, outermost first. */
  shape: Shape;
  /** Smallest value, of a uniform distribution; -2 by default. */
  low?: number;
  /** Largest value; 2 by default. */
  high?: number;
  /** i32 and u8 operands hold whole numbers in [low, high]. */
  dtype?: DType;
  /** Given as a permuted or sliced view of a larger tensor. */
  strided?: boolean;
}

/** One call the generic test makes of an op. */
export interface Sample {
  /** What is special about it, for the name of the test. */
  name: string;
  /** One an operand. */
  inputs: readonly SampleInput[];
  /** The call itself, as a user would write it. */
  call: (inputs: Tensor[]) => Tensor | Tensor[];
  /** False where there is no gradient to check (comparisons, indices). */
  differentiable?: boolean;
}

/** One op. */
export interface OpRow<A, S extends Operands> {
  /** Unlike any other; errors and tests call the op by it. */
  readonly name: string;
  /** What it computes in under autocast; `"widest"` by default. */
  readonly cast?: CastRule;
  /**
   * Computes the outputs from operands on one device.
   * @param recording Whether `saved` will be needed.
   */
  forward(inputs: Operands, attrs: A, recording: boolean): { out: Tensor | Tensor[]; saved: S };
  /**
   * Gradients of the operands (fresh tensors; null where there is none or `needs` says it is not
   * wanted) from those of the outputs.
   * @param into Gives the place of an operand whose gradient may be written there, and that place
   * given back; null for none.
   */
  backward(
    grads: readonly (Tensor | null)[],
    saved: S,
    attrs: A,
    needs: readonly boolean[],
    into: Places,
  ): readonly (Tensor | null)[];
  /**
   * Of an op whose outputs are parts of its operand: what they are parts of. Their gradients may be
   * written side by side then, and `backward` has to find them there.
   */
  readonly gathers?: (attrs: A) => {
    /** Of the operand. */
    readonly shape: Shape;
    /** Of the operand. */
    readonly dtype: DType;
    /** The window of an output. */
    part(whole: Tensor, output: number): Tensor;
  };
  /** Calls that cover its shapes and options, small enough for finite differences. */
  readonly samples: readonly Sample[];
}

/** What the generic test needs of an op. */
export interface OpEntry {
  /** Under which errors and {@link ops} know it. */
  readonly name: string;
  /** Calls to check. */
  readonly samples: readonly Sample[];
}

const registry = new Map<string, OpEntry>();

/** Every op, by name. */
export function ops(): ReadonlyMap<string, OpEntry> {
  return registry;
}

function register(entry: OpEntry): void {
  if (registry.has(entry.name)) {
    throw new Error(`defineOp: expected a name of its own but got "${entry.name}" again`);
  }
  registry.set(entry.name, entry);
}

/** A stand-in for tensors of other devices, while gradients are checked on the reference. */
let mirror: ((t: Tensor) => Tensor) | null = null;

/** Runs `fn` with every operand of the ops in it replaced by what `through` gives for it. */
export function mirrorOperands<T>(through: (t: Tensor) => Tensor, fn: () => T): T {
  const before = mirror;
  mirror = through;
  try {
    return fn();
  } finally {
    mirror = before;
  }
}

let watcher: ((t: Tensor) => void) | null = null;

/** Runs `fn` and shows `see` every operand of the ops in it. */
export function watchOperands<T>(see: (t: Tensor) => void, fn: () => T): T {
  const before = watcher;
  watcher = (t) => {
    before?.(t);
    see(t);
  };
  try {
    return fn();
  } finally {
    watcher = before;
  }
}

/** Declares an op; returns the function that calls it. */
export function defineOp<A, S extends Operands>(
  row: OpRow<A, S>,
): (inputs: Operands, attrs: A) => Tensor[] {
  register(row);
  return (given, attrs) => {
    const mirrored = mirror ? given.map((t) => t && mirror!(t)) : given;
    commonDevice(row.name, mirrored.filter((t) => t !== null));
    if (watcher) { for (const t of mirrored) if (t) watcher(t); }
    const { inputs, halved } = castOperands(row.cast ?? "widest", mirrored);
    // the graph has a weight itself, not the copy that is computed with
    const values = halved ? inputs.map((t, i) => halved.has(i) ? mirrored[i]! : t) : inputs;
    const needs = values.map((t) => t !== null && isRecording() && requiresGrad(t));
    const recording = needs.includes(true);
    let outs: Tensor[];
    let held: Operands = [];
    {
      using s = scope(row.name); // what the forward makes on the way is freed here
      const { out, saved } = noGrad(() => row.forward(inputs, attrs, recording));
      // an operand that is given back is a value of its own from here on
      outs = (Array.isArray(out) ? out : [out]).map((t) =>
        inputs.includes(t) ? t.as(t.shape, t.strides) : t
      );
      s.keep(outs);
      if (recording) held = hold(saved);
    }
    if (recording) {
      const parts = row.gathers?.(attrs);
      const { device } = outs[0]!;
      const gathering = parts
        ? {
          whole: () => empty(device, parts.dtype, parts.shape, row.name),
          part: parts.part,
        }
        : null;
      record(row.name, values, outs, held, (grads, kept, into) => {
        const found = row.backward(grads, kept as unknown as S, attrs, needs, into);
        return halved ? found.map((g, i) => halved.has(i) ? widened(g, () => into(i)) : g) : found;
      }, gathering);
    }
    return outs;
  };
}

/** Declares an op made of others, so that the generic test checks it too. */
export function defineComposite<F extends (...args: never[]) => unknown>(
  name: string,
  call: F,
  samples: readonly Sample[],
): F {
  register({ name, samples });
  return call;
}

/** What an op computes with, and which of it are f16 copies of weights; null for none. */
interface CastOperands {
  readonly inputs: Operands;
  readonly halved: ReadonlySet<number> | null;
}

function castOperands(rule: CastRule, given: Operands): CastOperands {
  if (autocastDtype() === null || rule === "asGiven") return { inputs: given, halved: null };
  const floats = given.filter((t) => t !== null && isFloat(t.dtype));
  const wide = floats.some((t) => t!.dtype === "f32");
  const isHalf = rule === "half" || rule === "halfWeights";
  const to = isHalf ? "f16" : rule === "single" || wide ? "f32" : "f16";
  const halved = new Set<number>();
  const inputs = given.map((t, i) => {
    if (!t || !isFloat(t.dtype) || t.dtype === to) return t;
    if (to === "f32" || !isLeaf(t)) return rule === "halfWeights" ? t : cast(t, to);
    halved.add(i);
    return halfWeight(t);
  });
  return { inputs, halved: halved.size > 0 ? halved : null };
}

/** The gradient of a weight, which is f32 whatever was computed with. */
function widened(g: Tensor | null | undefined, placeOf: () => Tensor | null): Tensor | null {
  if (!g || g.dtype === "f32") return g ?? null;
  const place = placeOf();
  if (!place) return copy(g, "f32", "cast");
  copyInto(g, place, "cast");
  return place;
}

const callCast = defineOp<{ from: DType; to: DType }, readonly []>({
  name: "cast",
  forward: ([x], { to }) => ({ out: copy(x!, to, "cast"), saved: [] }),
  backward: ([g], _, { from }) => [copy(g!, from, "cast")],
  samples: [
    { name: "f32 to f32", inputs: [{ shape: [17, 33] }], call: ([x]) => cast(x!, "f32") },
    {
      name: "f32 to i32 cuts towards zero",
      inputs: [{ shape: [17, 3], low: -9, high: 9 }],
      call: ([x]) => cast(x!, "i32"),
      differentiable: false,
    },
    {
      name: "u8 to f32",
      inputs: [{ shape: [5, 3], dtype: "u8", low: 0, high: 255 }],
      call: ([x]) => cast(x!, "f32"),
      differentiable: false,
    },
  ],
});

/**
 * `x` as another dtype. Floats to integers cut towards zero; what the type cannot hold becomes a
 * number that depends on the device. Gradients pass between floats.
 */
export function cast(x: Tensor, dtype: DType): Tensor {
  checkOperands("cast", [x]);
  checkDType("cast", dtype);
  if (x.dtype === dtype) return x;
  const call = () => callCast([x], { from: x.dtype, to: dtype })[0]!;
  return isFloat(x.dtype) && isFloat(dtype) ? call() : noGrad(call);
}
