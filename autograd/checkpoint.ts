/** Gradient checkpointing: a segment that is computed again when backward reaches it. */
import {
  defaultGenerator,
  type Generator,
  onDraw,
  scope,
  type Storage,
  Tensor,
  withGenerator,
} from "../tensor/mod.ts";
import { changedInPlace } from "./backward.ts";
import { autocast, autocastDtype, isRecording, noGrad, withGrad } from "./modes.ts";
import { watchOperands } from "./op.ts";
import { isLeaf, recordSegment } from "./tape.ts";

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

/** A parameter's elements as a segment used them. */
interface Use {
  readonly storage: Storage;
  readonly version: number;
}

/**
 * `fn(...inputs)` without keeping what backward needs from inside it: only the inputs and the
 * random state are kept, and `fn` runs again when backward gets here ("Training deep nets with
 * sublinear memory cost", arXiv 1604.06174). Gradients are the same, bit for bit.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { backward, checkpoint, init, nn, randn, scope, sum } from "@dit/core";
 *
 * await init({ device: "wasm" });
 * using _ = scope();
 * using block = new nn.Mlp(8, 32);
 * const x = randn([4, 8]);
 * const y = checkpoint((x) => block.forward(x), x); // the hidden layer is not stored
 * backward(sum(y));
 * assertEquals(block.fc1.weight.grad!.shape, [32, 8]);
 * ```
 *
 * @param fn Must compute the same when it runs again: from its inputs, parameters, generators, and
 * what does not change.
 */
export function checkpoint<R extends Tensor | readonly Tensor[]>(
  fn: (...inputs: Tensor[]) => R,
  ...inputs: Tensor[]
): R {
  if (!isRecording()) return fn(...inputs);
  const precision = autocastDtype();
  const generator = defaultGenerator(); // which may be another one when fn runs again
  const uses = new Map<Tensor, Use>();
  const use = (t: Tensor) => {
    if (isLeaf(t)) uses.set(t, { storage: t.storage, version: t.storage.version });
  };
  let result: R;
  let draws: Map<Generator, number>;
  let outs: readonly Tensor[];
  {
    using s = scope("checkpoint");
    const run = () => noGrad(() => watchOperands(use, () => fn(...inputs)));
    ({ result, draws } = noteDraws(run));
    // a result that was there before is given another handle, to be a value of its own
    outs = listOf(result).map((t) => s.owned.has(t) ? t : t.as(t.shape, t.strides));
    s.keep(outs);
  }
  const recompute = (again: readonly Tensor[]) => {
    for (const [t, { storage, version }] of uses) {
      const changed = !t.disposed && t.storage === storage && storage.version !== version;
      if (changed) throw changedInPlace(t.shape, "checkpoint");
    }
    const rerun = () => withGrad(() => autocast(precision, () => fn(...again)));
    return listOf(replayDraws(draws, () => withGenerator(generator, rerun)));
  };
  recordSegment("checkpoint", inputs, outs, uses.keys(), { rerun: recompute });
  return (result instanceof Tensor ? outs[0] : outs) as R;
}

function listOf(result: Tensor | readonly Tensor[]): readonly Tensor[] {
  return result instanceof Tensor ? [result] : result;
}
