/**
 * The record of what was computed. A tape belongs to the scope that was open when its ops ran: it
 * is freed with that scope, or node by node as backward passes.
 */
import {
  currentScope,
  type Keepable,
  onKeep,
  outsideScopes,
  type Scope,
  type Shape,
  Tensor,
} from "../tensor/mod.ts";

/**
 * A place where the gradient of an op's `input` may be written, to be given back then: null for none.
 * Those of weights are f32 and row-major, others may be windows of a larger tensor.
 */
export type Places = (input: number) => Tensor | null;

/** Gradients of an op's inputs from those of its outputs; null where there is none. */
export type Backward = (
  grads: readonly (Tensor | null)[],
  saved: readonly (Tensor | null)[],
  into: Places,
) => readonly (Tensor | null)[];

/** Where gradients of a node's outputs lie side by side, as one tensor that its backward finds. */
export interface Gathering {
  /** Makes it. */
  whole(): Tensor;
  /** The window of an output, another handle. */
  part(whole: Tensor, output: number): Tensor;
}

/**
 * Computes a segment again, on the tape this time, from tensors that stand for its inputs; gives
 * its outputs.
 */
export type Rerun = (inputs: readonly Tensor[]) => readonly Tensor[];

/**
 * Adds the gradients of all leaves that a segment uses, from those of its outputs, without computing
 * it again; false where that cannot be done.
 */
export type Shortcut = (grads: readonly (Tensor | null)[]) => boolean;

/** Where the graph begins: what gradients are collected for. */
export interface Leaf {
  /** Whether they are collected at present. */
  requiresGrad: boolean;
  /** Where a first gradient may be written, f32 and row-major, to be added next; null for nowhere. */
  gradPlace(): Tensor | null;
  /** Adds `g`, which stays the caller's, to what has been collected. */
  addGrad(g: Tensor): void;
}

/** A value in the graph, whichever handles there are to it. */
export class Value {
  /** The node that made it; null for a leaf. */
  node: Node | null = null;

  constructor(readonly shape: Shape, readonly leaf: Leaf | null) {}
}

/** How gradients pass a segment. */
export interface SegmentBack {
  readonly rerun: Rerun;
  /** Tried first, where gradients are collected for leaves only. */
  readonly shortcut?: Shortcut;
  /** Called when the segment is let go of, walked or not. */
  readonly onFree?: () => void;
}

/** One op that ran. */
export interface Node {
  readonly op: string;
  readonly sequence: number;
  readonly inputs: readonly (Value | null)[];
  readonly outputs: readonly Value[];
  /** Leaves that a segment uses when it is computed again, beside its inputs. */
  readonly leaves: readonly Value[];
  /** How gradients pass, or how to find the ops that they pass. */
  readonly back: { readonly backward: Backward } | SegmentBack;
  readonly gathering: Gathering | null;
  /** Made when a place in it is first asked for. */
  gathered: Tensor | null;
  saved: readonly (Tensor | null)[];
  readonly versions: readonly number[];
  /** Where it is kept; null once it has been freed. */
  tape: Tape | null;
}

let sequence = 0;
const leaves = new WeakMap<Tensor, Value>();
const values = new WeakMap<Tensor, Value>();
/** Handles to leaves, by which segments that are computed again know them. */
const leafHandles = new WeakSet<Tensor>();

/** Makes `t` a place where the graph begins. */
export function addLeaf(t: Tensor, leaf: Leaf): void {
  leaves.set(t, new Value(t.shape, leaf));
}

/** Makes `t` one more handle to a value that the graph has. */
export function addHandle(t: Tensor, value: Value): void {
  values.set(t, value);
}

/** The graph value behind a tensor; undefined for constants and frozen leaves. */
export function valueOf(t: Tensor): Value | undefined {
  const value = leaves.get(t);
  if (!value) return values.get(t);
  return value.leaf!.requiresGrad ? value : undefined;
}

/** Whether the graph begins at `t`, or at what `t` stands for. */
export function isLeaf(t: Tensor): boolean {
  return leaves.has(t) || leafHandles.has(t);
}

/** Another handle to a tensor, a leaf where that is one: autocast takes others than weights as they are. */
export function standIn(t: Tensor): Tensor {
  const handle = t.as(t.shape, t.strides);
  if (isLeaf(t)) leafHandles.add(handle);
  return handle;
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
    for (const node of this.nodes) freeNode(node);
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

/** Takes a node off its tape and lets go of what it saved. */
export function freeNode(node: Node): void {
  node.tape?.nodes.delete(node);
  node.tape = null;
  for (const t of node.saved) t?.dispose();
  node.saved = [];
  node.gathered?.dispose();
  node.gathered = null;
  if ("rerun" in node.back) node.back.onFree?.();
}

/** The place where what made `value` gathers its gradient; null where it does not. */
export function gatheringPlace(value: Value): Tensor | null {
  const { node } = value;
  if (!node?.gathering) return null;
  const { gathering } = node;
  node.gathered ??= outsideScopes(() => gathering.whole());
  return gathering.part(node.gathered, node.outputs.indexOf(value));
}

/** Lets go of all that `values` depend on. */
export function freeHistory(values: readonly (Value | undefined)[]): void {
  const pending = values.map((v) => v?.node);
  while (pending.length > 0) {
    const node = pending.pop();
    if (!node?.tape) continue;
    for (const input of node.inputs) pending.push(input?.node);
    freeNode(node);
  }
}

/** Hands the nodes of scope `from` that `values` depend on to the scope `to`. */
export function moveHistory(
  values: readonly (Value | undefined)[],
  from: Scope,
  to: Scope | null,
): void {
  const own = tapes.get(from);
  if (!own) return;
  const target = tapeOf(to);
  const pending = values.map((v) => v?.node);
  while (pending.length > 0) {
    const node = pending.pop();
    if (!node || node.tape !== own) continue;
    own.nodes.delete(node);
    target.nodes.add(node);
    node.tape = target;
    for (const input of node.inputs) pending.push(input?.node);
  }
}

// A tensor that leaves its scope takes the nodes it depends on along.
onKeep((kept, from, to) => {
  if (kept instanceof Tensor) moveHistory([valueOf(kept)], from, to);
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
  gathering: Gathering | null = null,
): void {
  addNode(op, inputs, outputs, saved, { backward }, [], gathering);
}

/**
 * As {@link record}, of a segment that is computed again when backward reaches it.
 *
 * @param uses Leaves that it uses beside its inputs.
 */
export function recordSegment(
  op: string,
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  uses: Iterable<Tensor>,
  back: SegmentBack,
): void {
  const leaves = Array.from(uses, valueOf).filter((value) => value !== undefined);
  const saved = outsideScopes(() => inputs.map(standIn));
  addNode(op, inputs, outputs, saved, back, leaves);
}

function addNode(
  op: string,
  inputs: readonly (Tensor | null)[],
  outputs: readonly Tensor[],
  saved: readonly (Tensor | null)[],
  back: Node["back"],
  leaves: readonly Value[] = [],
  gathering: Gathering | null = null,
): void {
  const tape = tapeOf(currentScope());
  const node: Node = {
    op,
    sequence: sequence++,
    inputs: inputs.map((t) => t && valueOf(t) || null),
    outputs: outputs.map((t) => new Value(t.shape, null)),
    leaves,
    back,
    gathering,
    gathered: null,
    saved,
    versions: saved.map((t) => t ? t.storage.version : 0),
    tape,
  };
  node.outputs.forEach((value, i) => {
    value.node = node;
    addHandle(outputs[i]!, value);
  });
  tape.nodes.add(node);
}
