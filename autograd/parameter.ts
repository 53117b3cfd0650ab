/** Tensors that are trained: the leaves of the graph. */
import {
  ADD,
  commonFloat,
  contiguousStrides,
  copy,
  copyInto,
  evaluateInto,
  fillInto,
  outsideScopes,
  Tensor,
} from "../tensor/mod.ts";
import { addLeaf } from "./tape.ts";

/**
 * A tensor that gradients are collected for: a weight, or an input under study. It has storage of
 * its own that optimisers change in place.
 */
export class Parameter extends Tensor {
  /** Whether backward collects a gradient; false freezes it. */
  requiresGrad: boolean;
  #grad: Tensor | null = null;
  /** A place for the gradient that an optimiser has set aside. */
  #place: Tensor | null = null;
  /** @internal Told once, when the parameter is disposed of. */
  onDispose: (() => void) | null = null;

  /** Takes over the elements of `t`, which is disposed of. */
  constructor(t: Tensor, options: { requiresGrad?: boolean } = {}) {
    if (options.requiresGrad !== false) commonFloat("Parameter", [t]);
    super(t.storage.retain(), t.shape, t.strides, t.offset);
    this.requiresGrad = options.requiresGrad ?? true;
    addLeaf(this, this);
    t.dispose();
  }

  /** Sum of the gradients since the last `zeroGrad()`; null where there are none. */
  get grad(): Tensor | null {
    return this.#grad;
  }

  /** Forgets the gradient. */
  zeroGrad(): void {
    if (this.#grad !== this.#place) this.#grad?.dispose();
    this.#grad = null;
  }

  /** @internal Adds `g` to the gradient. */
  addGrad(g: Tensor): void {
    if (this.#grad) {
      evaluateInto("backward", ADD, [this.#grad, g], [this.#grad]);
      return;
    }
    if (!this.#place) {
      this.#grad = outsideScopes(() => copy(g, this.dtype, "backward"));
      return;
    }
    this.#grad = this.#place;
    copyInto(g, this.#place, "backward");
  }

  /** @internal Moves the elements into a larger tensor, to stand from `at` on. */
  moveTo(whole: Tensor, at: number): void {
    outsideScopes(() => {
      using home = whole.as(this.shape, contiguousStrides(this.shape), at);
      copyInto(this, home, "parameter");
      this.rebind(home.storage.retain(), at);
    });
  }

  /** @internal Keeps the gradient in a larger tensor, from `at` on. */
  placeGrad(whole: Tensor, at: number): void {
    outsideScopes(() => {
      const before = this.#grad;
      this.#place = whole.as(this.shape, contiguousStrides(this.shape), at);
      if (!before) return;
      copyInto(before, this.#place, "parameter");
      this.#grad = this.#place;
      before.dispose();
    });
  }

  /** @internal Makes the gradient's place zero where backward reached no gradient. */
  settleGrad(): void {
    if (!this.#place || this.#grad) return;
    fillInto(this.#place, 0, "parameter");
    this.#grad = this.#place;
  }

  /** Frees the elements and the gradient. */
  override dispose(): void {
    if (this.disposed) return;
    this.zeroGrad();
    this.#place?.dispose();
    this.#place = null;
    super.dispose();
    this.onDispose?.();
  }
}
