/** The walk back over what was computed, which adds up gradients on the way. */
import {
  ADD,
  evaluateInto,
  evaluateOne,
  full,
  GradientError,
  sameShape,
  scope,
  type Shape,
  shapeText,
  type Tensor,
} from "../tensor/mod.ts";
import { noGrad } from "./modes.ts";
import { Parameter } from "./parameter.ts";
import {
  addHandle,
  type Backward,
  freeNode,
  gatheringPlace,
  type Leaf,
  moveHistory,
  type Node,
  type Rerun,
  standIn,
  type Value,
  valueOf,
} from "./tape.ts";

/** Adds `g` (which it takes over) to what is held for a value. */
function accumulate(grads: Map<Value, Tensor>, value: Value, g: Tensor): void {
  const held = grads.get(value);
  if (!held) {
    grads.set(value, g);
  } else if (held.storage.exclusive && held.contiguous) {
    evaluateInto("backward", ADD, [held, g], [held]);
    g.dispose();
  } else {
    grads.set(value, evaluateOne("backward", ADD, [held, g]));
    held.dispose();
    g.dispose();
  }
}

/** Every node that `start` depends on and that is not among `known`, to which they are added. */
function dependencies(start: readonly (Value | undefined)[], known: Set<Node>): Node[] {
  const found: Node[] = [];
  const pending = start.map((v) => v?.node);
  while (pending.length > 0) {
    const node = pending.pop();
    if (!node || known.has(node)) continue;
    if (!node.tape) {
      throw new GradientError(
        `backward: ${node.op} was already freed: expected one backward a forward, inside the ` +
          `scope where the loss was computed`,
      );
    }
    known.add(node);
    found.push(node);
    for (const input of node.inputs) pending.push(input?.node);
  }
  return found;
}

function checkUnchanged(node: Node): void {
  node.saved.forEach((t, i) => {
    if (t && t.storage.version !== node.versions[i]) throw changedInPlace(t.shape, node.op);
  });
}

/** The error for a tensor that backward needs as it was. */
export function changedInPlace(shape: Shape, op: string): GradientError {
  return new GradientError(
    `backward: a tensor of shape ${shapeText(shape)} that ${op} needs was changed in place after ` +
      `it ran: expected the optimiser to step after backward`,
  );
}

/** Passes the gradients of a node's outputs on to its inputs. */
function runNode(
  node: Node,
  backward: Backward,
  grads: Map<Value, Tensor>,
  placeOf: (value: Value) => Tensor | null,
): void {
  const arrived: [Value, Tensor][] = [];
  {
    using s = scope(node.op);
    const upstream = node.outputs.map((v) => grads.get(v) ?? null);
    const into = (i: number) => {
      // only what nothing else is added to
      const value = node.inputs[i];
      const isFirst = value && !grads.has(value) && node.inputs.indexOf(value) === i;
      return isFirst ? placeOf(value) : null;
    };
    const results = backward(upstream, node.saved, into);
    const taken = new Set(upstream);
    node.inputs.forEach((value, i) => {
      const g = results[i];
      if (!value || !g) return;
      if (!sameShape(g.shape, value.shape)) {
        throw new Error(
          `${node.op}: expected gradient ${i} of shape ${shapeText(value.shape)} but got ${
            shapeText(g.shape)
          }`,
        );
      }
      // a handle for each value, where an op gives what it got, or one gradient twice
      arrived.push([value, s.keep(taken.has(g) ? g.as(g.shape, g.strides) : g)]);
      taken.add(g);
    });
  }
  for (const [value, g] of arrived) accumulate(grads, value, g);
}

/**
 * Computes a segment again and passes the gradients of its outputs on to the values they turn out
 * to be, which are returned. The ops in between belong to the scope of the walk from then on.
 */
function expandNode(
  node: Node,
  rerun: Rerun,
  grads: Map<Value, Tensor>,
): (Value | undefined)[] {
  let found: (Value | undefined)[];
  {
    using s = scope(node.op);
    const inputs = node.saved.map((t, i) => {
      const again = standIn(t!);
      const value = node.inputs[i];
      if (value) addHandle(again, value); // the same place in the graph, so that gradients add up
      return again;
    });
    found = rerun(inputs).map((t) => valueOf(t));
    moveHistory(found, s, s.parent);
  }
  node.outputs.forEach((value, i) => {
    const [g, target] = [grads.get(value), found[i]];
    if (g && target) accumulate(grads, target, g.as(g.shape, g.strides));
  });
  return found;
}

/** Gets a parameter whose gradient is complete. */
export type GradientHook = (parameter: Parameter) => void;

/** Leaves that gradients are still to come for, and what is called when the last one has. */
class PendingLeaves {
  /** Nodes that are not walked yet by leaf. */
  readonly #uses = new Map<Leaf, number>();
  readonly #onGradient: GradientHook | undefined;

  constructor(onGradient: GradientHook | undefined) {
    this.#onGradient = onGradient;
  }

  /** Counts nodes that are to be walked. */
  enter(nodes: readonly Node[]): void {
    if (!this.#onGradient) return;
    for (const node of nodes) {
      for (const leaf of leavesOf(node)) this.#uses.set(leaf, (this.#uses.get(leaf) ?? 0) + 1);
    }
  }

  /** Counts a node that has been walked, after those that it turned out to be of. */
  leave(node: Node): void {
    if (!this.#onGradient) return;
    for (const leaf of leavesOf(node)) {
      const left = this.#uses.get(leaf)! - 1;
      this.#uses.set(leaf, left);
      if (left === 0) this.end(leaf);
    }
  }

  /** Says that nothing more comes for a leaf. */
  end(leaf: Leaf): void {
    if (leaf instanceof Parameter) this.#onGradient?.(leaf);
  }
}

/** Leaves among what a node reads, each as often as it reads it. */
function leavesOf({ inputs, leaves }: Node): Leaf[] {
  return [...inputs, ...leaves].flatMap((value) => value?.leaf ?? []);
}

/** How a walk ends at leaves. */
interface WalkOptions {
  /** Values that keep their gradient, which is returned. */
  readonly wanted?: ReadonlySet<Value>;
  /** Whether leaves that are not wanted add theirs to what they have. */
  readonly intoLeaves: boolean;
  /** Called once a leaf has all of its gradient. */
  readonly onGradient?: GradientHook | undefined;
}

/**
 * Walks back from values with their gradients, which it takes over. Each value in `wanted` keeps its
 * gradient in the returned map; every other leaf adds its own to what it has, where
 * `intoLeaves`.
 *
 * Gradients of a value are added up one by one, those of later ops first. A segment that is
 * computed again takes the place of its node in this order, so that it comes to the same bits.
 */
function walk(
  starts: readonly (readonly [Value, Tensor | null])[],
  { wanted = new Set(), intoLeaves, onGradient }: WalkOptions,
): Map<Value, Tensor> {
  const grads = new Map<Value, Tensor>();
  for (const [value, g] of starts) if (g) accumulate(grads, value, g);
  const flush = (value: Value) => {
    const g = grads.get(value);
    if (!g || wanted.has(value)) return;
    grads.delete(value);
    if (value.leaf && intoLeaves) value.leaf.addGrad(g);
    g.dispose();
  };
  const placeOf = (value: Value) => {
    if (wanted.has(value)) return null;
    if (value.leaf) return intoLeaves ? value.leaf.gradPlace() : null;
    return gatheringPlace(value);
  };
  const isPlain = intoLeaves && wanted.size === 0;
  const flushLeaf = (value: Value | null | undefined) => value?.leaf && flush(value);
  const known = new Set<Node>();
  const pending: Node[] = [];
  const pendingLeaves = new PendingLeaves(onGradient);
  const enter = (values: readonly (Value | undefined)[]) => {
    const nodes = dependencies(values, known);
    pendingLeaves.enter(nodes);
    pending.push(...nodes);
    pending.sort((a, b) => a.sequence - b.sequence); // the latest last
  };
  enter(starts.map(([value]) => value));
  noGrad(() => {
    for (let node = pending.pop(); node; node = pending.pop()) {
      if (node.outputs.some((v) => grads.has(v))) {
        checkUnchanged(node);
        const upstream = () => node.outputs.map((v) => grads.get(v) ?? null);
        if ("backward" in node.back) runNode(node, node.back.backward, grads, placeOf);
        else if (!(isPlain && node.back.shortcut?.(upstream()))) {
          const found = expandNode(node, node.back.rerun, grads);
          enter(found);
          found.forEach(flushLeaf);
        }
      }
      node.outputs.forEach(flush);
      node.inputs.forEach(flushLeaf);
      pendingLeaves.leave(node);
      freeNode(node);
    }
    for (const [start] of starts) {
      flushLeaf(start);
      if (start.leaf) pendingLeaves.end(start.leaf);
    }
  });
  return grads;
}

function lossValue(loss: Tensor, op: string): Value {
  const value = valueOf(loss);
  if (!value) {
    throw new GradientError(
      `${op}: the loss depends on no parameter: expected one computed from parameters, outside ` +
        `noGrad; gradients of gradients are not supported`,
    );
  }
  return value;
}

function seed(loss: Tensor, gradient: Tensor | undefined, op: string): Tensor {
  if (!gradient && loss.size !== 1) {
    throw new GradientError(
      `${op}: expected a loss with one element, or a gradient for it, but got shape ${
        shapeText(loss.shape)
      }`,
    );
  }
  if (gradient && !sameShape(gradient.shape, loss.shape)) {
    throw new GradientError(
      `${op}: expected a gradient of shape ${shapeText(loss.shape)} but got ${
        shapeText(gradient.shape)
      }`,
    );
  }
  return gradient?.as(gradient.shape, gradient.strides) ??
    full(loss.shape, 1, { device: loss.device, dtype: loss.dtype });
}

/** Settings of {@link backward}. */
export interface BackwardOptions {
  /**
   * Called for each parameter that the loss depends on, when nothing more comes for its `grad`: the
   * parameters used last come first, while the gradients of others are still to be computed.
   */
  onGradient?: GradientHook;
}

/**
 * Adds the gradients of `loss` to the `grad` of every parameter it depends on, and frees the tape
 * on the way: one backward a forward.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { backward, init, Parameter, scope, square, sum, tensor } from "@dit/core";
 *
 * await init({ device: "wasm" });
 * using w = new Parameter(tensor([1, -3]));
 * {
 *   using _ = scope();
 *   backward(sum(square(w)));
 * }
 * assertEquals(await w.grad!.data(), Float32Array.of(2, -6));
 * ```
 *
 * @param loss One element, or any shape where `gradient` is given.
 * @param gradient Gradient of some scalar by `loss`, of its shape; 1 by default.
 * @throws {GradientError} where the loss depends on no parameter, or was walked already.
 */
export function backward(
  loss: Tensor,
  gradient?: Tensor,
  { onGradient }: BackwardOptions = {},
): void {
  using _ = scope("backward");
  const value = lossValue(loss, "backward");
  walk([[value, seed(loss, gradient, "backward")]], { intoLeaves: true, onGradient });
}

/**
 * Adds the gradients of what `values` depend on to its leaves, from those of the values, which stay
 * the caller's, and frees the tape. Undefined values depend on nothing.
 */
export function backwardFrom(
  values: readonly (Value | undefined)[],
  grads: readonly (Tensor | null)[],
): void {
  using _ = scope("backward");
  const starts = values.flatMap((value, i) => {
    const g = grads[i];
    return value ? [[value, g ? g.as(g.shape, g.strides) : null] as const] : [];
  });
  walk(starts, { intoLeaves: true });
}

/**
 * Gradients of `loss` by each of `wrt` (parameters or tensors computed on the way), without
 * touching any `parameter.grad`. Frees the tape. Zeros where the loss does not depend on one.
 */
export function gradients(
  loss: Tensor,
  wrt: readonly Tensor[],
  gradient?: Tensor,
): Tensor[] {
  using s = scope("gradients");
  const start = lossValue(loss, "gradients");
  const keys = wrt.map((t) => lossValue(t, "gradients"));
  const grads = walk([[start, seed(loss, gradient, "gradients")]], {
    wanted: new Set(keys),
    intoLeaves: false,
  });
  return keys.map((v, i) => {
    const g = grads.get(v);
    const t = wrt[i]!;
    return s.keep(
      g ? g.as(g.shape, g.strides) : full(t.shape, 0, { device: t.device, dtype: t.dtype }),
    );
  });
}
