/** Gradient checkpointing: a segment that is computed again when backward reaches it. */
import { type Generator, onDraw, scope, Tensor } from "../tensor/mod.ts";
import { autocast, autocastDtype, isRecording, noGrad, withGrad } from "./modes.ts";
import { Parameter } from "./parameter.ts";
import { backwardFrom, hold, record, requiresGrad } from "./tape.ts";

/** Where each generator stood when `fn` first drew from it. */
export function noteDraws<T>(fn: () => T): { result: T; draws: Map<Generator, number> } {
  const draws = new Map<Generator, number>();
  const stop = onDraw((g) => {
    if (!draws.has(g)) draws.set(g, g.offset);
  });
  try {
    return { result: fn(), draws };
  } finally {
    stop();
  }
}

/** Runs `fn` with every generator back where it stood, and puts them where they were after. */
export function replayDraws<T>(draws: ReadonlyMap<Generator, number>, fn: () => T): T {
  const now = [...draws.keys()].map((g) => [g, g.offset] as const);
  for (const [g, offset] of draws) g.seek(offset);
  try {
    return fn();
  } finally {
    for (const [g, offset] of now) g.seek(offset);
  }
}

/**
 * `fn(...inputs)` without keeping what backward needs from inside it: only the inputs and the
 * random state are kept, and `fn` runs again when backward gets here ("Training deep nets with
 * sublinear memory cost", arXiv 1604.06174). Gradients are the same, bit for bit.
 *
 * @param fn Must depend on nothing but its inputs, parameters and generators.
 */
export function checkpoint<R extends Tensor | readonly Tensor[]>(
  fn: (...inputs: Tensor[]) => R,
  ...inputs: Tensor[]
): R {
  if (!isRecording()) return fn(...inputs);
  const precision = autocastDtype();
  let result: R;
  let draws: Map<Generator, number>;
  {
    using s = scope("checkpoint");
    ({ result, draws } = noteDraws(() => noGrad(() => fn(...inputs))));
    s.keep(result);
  }
  const outs = listOf(result);
  // a result that is one of the inputs needs a handle of its own, to be a value of its own
  const fresh = outs.map((t) => inputs.includes(t) ? t.as(t.shape, t.strides) : t);
  const flows = inputs.map((t) => requiresGrad(t));
  record("checkpoint", inputs, fresh, hold(inputs), (grads, saved) => {
    using s = scope("checkpoint");
    const again = saved.map((t, i) => {
      const copy = t!.as(t!.shape, t!.strides);
      return flows[i] ? new Parameter(copy) : copy;
    });
    const rerun = () => withGrad(() => autocast(precision, () => fn(...again)));
    const back = backwardFrom(listOf(replayDraws(draws, rerun)), grads, again);
    s.keep(back.filter((g) => g !== null));
    return back;
  });
  return (result instanceof Tensor ? fresh[0] : fresh) as R;
}

function listOf(result: Tensor | readonly Tensor[]): readonly Tensor[] {
  return result instanceof Tensor ? [result] : result;
}
