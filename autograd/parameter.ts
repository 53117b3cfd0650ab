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
  /** The window of an optimiser's flat gradient buffer that takes the gradient. */
  #flatGrad: Tensor | null = null;
  /** @internal Called once, when the parameter is disposed of. */
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
    if (this.#grad !== this.#flatGrad) this.#grad?.dispose();
    this.#grad = null;
  }

  /** @internal Where a first gradient may be written: another handle to its flat buffer. */
  gradPlace(): Tensor | null {
    const place = this.#grad ? null : this.#flatGrad;
    return place && place.as(place.shape, place.strides);
  }

  /** @internal Whether an optimiser collects the gradient in a flat buffer. */
  get isGradBound(): boolean {
    return this.#flatGrad !== null;
  }

  /** @internal Notes that the first gradient has been written in its place. */
  noteGrad(): void {
    this.#grad ??= this.#flatGrad;
  }

  /** @internal Adds `g` to the gradient, unless it was written in its place. */
  addGrad(g: Tensor): void {
    if (this.#grad) {
      evaluateInto("backward", ADD, [this.#grad, g], [this.#grad]);
      return;
    }
    if (!this.#flatGrad) {
      this.#grad = outsideScopes(() => copy(g, this.dtype, "backward"));
      return;
    }
    this.#grad = this.#flatGrad;
    const isThere = g.storage === this.#flatGrad.storage && g.offset === this.#flatGrad.offset;
    if (!isThere) copyInto(g, this.#flatGrad, "backward");
  }

  /** @internal Moves the elements into a flat buffer, to element `at`. */
  moveTo(whole: Tensor, at: number): void {
    outsideScopes(() => {
      using own = whole.as(this.shape, contiguousStrides(this.shape), at);
      copyInto(this, own, "parameter");
      this.rebind(own.storage.retain(), at);
    });
  }

  /** @internal Collects the gradient in a flat gradient buffer, from element `at` on. */
  bindGrad(whole: Tensor, at: number): void {
    outsideScopes(() => {
      const before = this.#grad;
      this.#flatGrad = whole.as(this.shape, contiguousStrides(this.shape), at);
      if (!before) return;
      copyInto(before, this.#flatGrad, "parameter");
      this.#grad = this.#flatGrad;
      before.dispose();
    });
  }

  /** @internal Makes the gradient zeros in its flat buffer where backward gave none. */
  zeroGradIfMissing(): void {
    if (!this.#flatGrad || this.#grad) return;
    fillInto(this.#flatGrad, 0, "parameter");
    this.#grad = this.#flatGrad;
  }

  /** Frees the elements and the gradient. */
  override dispose(): void {
    if (this.disposed) return;
    this.zeroGrad();
    this.#flatGrad?.dispose();
    this.#flatGrad = null;
    super.dispose();
    this.onDispose?.();
  }
}
