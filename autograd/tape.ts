/**
 * The record of what was computed, and the walk back over it. A tape belongs to the scope that was
 * open when its ops ran: it is freed with that scope, or node by node as backward passes.
 */
import {
  ADD,
  currentScope,
  evaluateInto,
  evaluateOne,
  full,
  GradientError,
  type Keepable,
  onKeep,
  outsideScopes,
  sameShape,
  type Scope,
  scope,
  type Shape,
  shapeText,
  Tensor,
} from "../tensor/mod.ts";
import { noGrad } from "./modes.ts";

/** Gradients of an op's inputs from those of its outputs; null where there is none. */
export type Backward = (
  grads: readonly (Tensor | null)[],
  saved: readonly (Tensor | null)[],
) => readonly (Tensor | null)[];

/** Where the graph begins: what gradients are collected for. */
export interface Leaf {
  /** Whether they are collected at present. */
  requiresGrad: boolean;
  /** Adds `g`, which stays the caller's, to what has been collected. */
  addGrad(g: Tensor): void;
}

/** A value in the graph, whichever handles there are to it. */
export class Value {
  /** The node that made it; null for a leaf. */
  node: Node | null = null;

  constructor(readonly shape: Shape, readonly leaf: Leaf | null) {}
}

/** One op that ran. */
export interface Node {
  readonly op: string;
  readonly sequence: number;
  readonly inputs: readonly (Value | null)[];
  readonly outputs: readonly Value[];
  readonly backward: Backward;
  saved: readonly (Tensor | null)[];
  readonly versions: readonly number[];
  /** Where it is kept; null once it has been freed. */
  tape: Tape | null;
}

let sequence = 0;
const leaves = new WeakMap<Tensor, Value>();
const values = new WeakMap<Tensor, Value>();

/** Makes `t` a place where the graph begins. */
export function addLeaf(t: Tensor, leaf: Leaf): void {
  leaves.set(t, new Value(t.shape, leaf));
}

/** The graph value behind a tensor; undefined for constants and frozen leaves. */
export function valueOf(t: Tensor): Value | undefined {
  const value = leaves.get(t);
  if (!value) return values.get(t);
  return value.leaf!.requiresGrad ? value : undefined;
}

/** Whether gradients flow to `t`. */
export function requiresGrad(t: Tensor): boolean {
  return valueOf(t) !== undefined;
}

/** Nodes of one scope. */
class Tape implements Keepable {
  scope: Scope | null = null;
  readonly nodes: Set<Node> = new Set();

  dispose(): void {
    for (const node of this.nodes) free(node);
  }
}

const rootTape = new Tape();
const tapes = new WeakMap<Scope, Tape>();

function tapeOf(owner: Scope | null): Tape {
  if (!owner) return rootTape;
  let tape = tapes.get(owner);
  if (!tape) {
    tapes.set(owner, tape = new Tape());
    owner.adopt(tape);
  }
  return tape;
}

function free(node: Node): void {
  node.tape?.nodes.delete(node);
  node.tape = null;
  for (const t of node.saved) t?.dispose();
  node.saved = [];
}

// A tensor that leaves its scope takes the nodes it depends on along.
onKeep((kept, from, to) => {
  if (!(kept instanceof Tensor)) return;
  const own = tapes.get(from);
  if (!own) return;
  const target = tapeOf(to);
  const pending = [valueOf(kept)?.node];
  for (let node = pending.pop(); node || pending.length > 0; node = pending.pop()) {
    if (!node || node.tape !== own) continue;
    own.nodes.delete(node);
    target.nodes.add(node);
    node.tape = target;
    for (const input of node.inputs) pending.push(input?.node);
  }
});

/** Handles of the tape's own to tensors that backward needs. */
export function hold(saved: readonly (Tensor | null)[]): readonly (Tensor | null)[] {
  return outsideScopes(() => saved.map((t) => t && t.as(t.shape, t.strides)));
}

/**
 * Puts an op that ran on the tape, so that gradients flow from `outputs` to `inputs`. Takes over
 * the `saved` tensors, see {@link hold}.
 */
export function record(
  op: string,
  inputs: readonly (Tensor | null)[],
  outputs: readonly Tensor[],
  saved: readonly (Tensor | null)[],
  backward: Backward,
): void {
  const tape = tapeOf(currentScope());
  const node: Node = {
    op,
    sequence: sequence++,
    inputs: inputs.map((t) => t && valueOf(t) || null),
    outputs: outputs.map((t) => new Value(t.shape, null)),
    backward,
    saved,
    versions: saved.map((t) => t ? t.storage.version : 0),
    tape,
  };
  node.outputs.forEach((value, i) => {
    value.node = node;
    values.set(outputs[i]!, value);
  });
  tape.nodes.add(node);
}

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

/** Every node that `start` depends on, latest first. */
function dependencies(start: readonly Value[]): Node[] {
  const found = new Set<Node>();
  const pending = start.map((v) => v.node);
  while (pending.length > 0) {
    const node = pending.pop();
    if (!node || found.has(node)) continue;
    if (!node.tape) {
      throw new GradientError(
        `backward: ${node.op} was already freed: expected one backward a forward, inside the ` +
          `scope where the loss was computed`,
      );
    }
    found.add(node);
    for (const input of node.inputs) if (input) pending.push(input.node);
  }
  return [...found].sort((a, b) => b.sequence - a.sequence);
}

function runNode(node: Node, grads: Map<Value, Tensor>): void {
  const outGrads = node.outputs.map((v) => grads.get(v) ?? null);
  if (outGrads.every((g) => g === null)) return;
  node.saved.forEach((t, i) => {
    if (t && t.storage.version !== node.versions[i]) {
      throw new GradientError(
        `backward: a tensor of shape ${shapeText(t.shape)} that ${node.op} needs was changed in ` +
          `place after it ran: expected the optimiser to step after backward`,
      );
    }
  });
  const arrived: [Value, Tensor][] = [];
  {
    using s = scope(node.op);
    const results = node.backward(outGrads, node.saved);
    node.inputs.forEach((value, i) => {
      const g = results[i];
      if (!value || !g) return;
      if (!sameShape(g.shape, value.shape)) {
        throw new Error(
          `${node.op}: gradient ${i} has shape ${shapeText(g.shape)}, expected ${
            shapeText(value.shape)
          }`,
        );
      }
      arrived.push([value, s.keep(g)]);
    });
  }
  for (const [value, g] of arrived) accumulate(grads, value, g);
}

/** Takes the gradient of a leaf, which stays the caller's. */
type LeafSink = (leaf: Value, g: Tensor) => void;

const intoParameters: LeafSink = (value, g) => value.leaf!.addGrad(g);

/** Where leaves' gradients go in the walk that is on; a checkpointed segment's go there too. */
let currentSink: LeafSink | null = null;

/**
 * Walks back from `starts` with the given gradients, which it takes over. Each value in `wanted`
 * keeps its gradient in the returned map; those of other leaves go to `sink`.
 */
function walk(
  starts: readonly (readonly [Value, Tensor])[],
  wanted: ReadonlySet<Value>,
  sink: LeafSink,
): Map<Value, Tensor> {
  const grads = new Map<Value, Tensor>();
  for (const [value, g] of starts) accumulate(grads, value, g);
  const settle = (value: Value) => {
    const g = grads.get(value);
    if (!g || wanted.has(value)) return;
    grads.delete(value);
    if (value.leaf) sink(value, g);
    g.dispose();
  };
  const home = currentScope();
  const fromSegment: LeafSink = (value, g) => {
    if (!wanted.has(value)) return sink(value, g);
    // outlives the scopes of the segment, and goes with the walk's
    outsideScopes(() => accumulate(grads, value, g.as(g.shape, g.strides)));
    const held = grads.get(value)!;
    if (!held.scope) home?.adopt(held);
  };
  const nodes = dependencies(starts.map(([v]) => v));
  const outer = currentSink;
  currentSink = fromSegment;
  try {
    // a leaf's gradients are added up one by one as they arrive, so that a checkpointed segment,
    // which adds them from inside, comes to the same bits
    noGrad(() => {
      for (const node of nodes) {
        runNode(node, grads);
        node.outputs.forEach(settle);
        node.inputs.forEach((v) => v?.leaf && settle(v));
        free(node);
      }
      for (const value of [...grads.keys()]) settle(value);
    });
  } finally {
    currentSink = outer;
  }
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

/**
 * Adds the gradients of `loss` to the `grad` of every parameter it depends on, and frees the tape
 * on the way: one backward a forward.
 *
 * @param loss One element, or any shape where `gradient` is given.
 * @param gradient Gradient of some scalar by `loss`, of its shape; 1 by default.
 * @throws {GradientError} where the loss depends on no parameter, or was walked already.
 */
export function backward(loss: Tensor, gradient?: Tensor): void {
  using _ = scope("backward");
  const value = lossValue(loss, "backward");
  walk([[value, seed(loss, gradient, "backward")]], new Set(), intoParameters);
}

/**
 * As {@link backward} from several outputs at once, with the gradients of `wanted` returned. Inside
 * another walk, gradients of other leaves go where that one takes its own.
 */
export function backwardFrom(
  outputs: readonly Tensor[],
  gradients: readonly (Tensor | null)[],
  wanted: readonly Tensor[],
): (Tensor | null)[] {
  using s = scope("backward");
  const starts = outputs.flatMap((t, i) => {
    const value = valueOf(t);
    const g = gradients[i];
    return value && g ? [[value, g.as(g.shape, g.strides)] as const] : [];
  });
  const keys = wanted.map((t) => valueOf(t));
  const sink = currentSink ?? intoParameters;
  const grads = walk(starts, new Set(keys.filter((v) => v !== undefined)), sink);
  return keys.map((v) => {
    const g = v && grads.get(v);
    return g ? s.keep(g) : null;
  });
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
  const grads = walk([[start, seed(loss, gradient, "gradients")]], new Set(keys), () => {});
  return keys.map((v, i) => {
    const g = grads.get(v);
    const t = wrt[i]!;
    return s.keep(g ? g.as(g.shape, g.strides) : full(t.shape, 0, { device: t.device }));
  });
}
