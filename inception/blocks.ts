/**
 * What Inception-v3 is made of (Szegedy et al., "Rethinking the Inception Architecture for Computer
 * Vision", arXiv:1512.00567): convolutions with ReLU, and blocks of paths whose results are joined.
 */
import { avgPool2d, concat, maxPool2d, relu } from "../autograd/mod.ts";
import { Conv2d, Module, tidy } from "../nn/mod.ts";
import type { Tensor } from "../tensor/mod.ts";

/** A convolution and ReLU, with batch normalisation folded into its weight and bias. */
export interface UnitShape {
  /** What torchvision calls it within its block. */
  readonly name: string;
  readonly outputs: number;
  /** Rows and columns. */
  readonly kernel: readonly [rows: number, columns: number];
  /** 1 by default. */
  readonly stride?: 1 | 2;
  /** Whether zeros around keep the size: so by default, unless the stride is 2. */
  readonly padded?: boolean;
}

/** One way through a block. */
export interface PathShape {
  /** Pooling of 3x3: averages before the units, the largest before or instead of them. */
  readonly pool?: "average" | "max" | "max, stride 2";
  /** One after another. */
  readonly units: readonly UnitShape[];
  /** Units that each take what the last of `units` gives; their results are joined. */
  readonly fork?: readonly UnitShape[];
}

/** A convolution with ReLU; its weights are named `conv.weight` and `conv.bias`. */
export class Unit extends Module {
  /** With the batch normalisation folded in */
  readonly conv: Conv2d;

  /** From so many channels. */
  constructor(inputs: number, { outputs, kernel, stride = 1, padded = stride === 1 }: UnitShape) {
    super();
    const [rows, columns] = kernel.map((size) => padded ? (size - 1) / 2 : 0) as [number, number];
    const padding = { top: rows, bottom: rows, left: columns, right: columns };
    this.conv = new Conv2d(inputs, outputs, kernel, { stride, padding });
  }

  /** x [N, inputs, H, W] to [N, outputs, OH, OW]. */
  forward(x: Tensor): Tensor {
    return tidy(() => relu(this.conv.forward(x)));
  }

  /**
   * The same of averages of 3x3 windows of x. A convolution of 1x1 and the mean can change places,
   * so the mean is taken of as many channels as the convolution leaves.
   */
  forwardOfAverages(x: Tensor): Tensor {
    return tidy(() => relu(avgPool2d(this.conv.forward(x), { size: 3, stride: 1, padding: 1 })));
  }
}

interface Path {
  readonly pool: PathShape["pool"];
  readonly units: readonly Unit[];
  readonly fork: readonly Unit[];
}

/** Paths side by side, whose channels are joined. */
export class Block extends Module {
  readonly #units = new Map<string, Unit>();
  readonly #paths: readonly Path[];
  /** Channels of the result. */
  readonly outputs: number;

  /** From so many channels. */
  constructor(inputs: number, paths: readonly PathShape[]) {
    super();
    const make = (inputs: number, shape: UnitShape): Unit => {
      const unit = new Unit(inputs, shape);
      this.#units.set(shape.name, unit);
      return unit;
    };
    let outputs = 0;
    this.#paths = paths.map(({ pool, units, fork = [] }) => {
      let width = inputs;
      const made = units.map((unit) => {
        const one = make(width, unit);
        width = unit.outputs;
        return one;
      });
      const forked = fork.map((unit) => make(width, unit));
      outputs += fork.length === 0 ? width : fork.reduce((sum, unit) => sum + unit.outputs, 0);
      return { pool, units: made, fork: forked };
    });
    this.outputs = outputs;
  }

  /** Its units by torchvision's names. */
  override *members(): Iterable<[string, Unit]> {
    yield* this.#units;
  }

  /** x [N, inputs, H, W] to [N, outputs, H, W], or about half of H and W. */
  forward(x: Tensor): Tensor {
    return tidy(() => concat(this.#paths.flatMap((path) => through(path, x)), 1));
  }
}

function through({ pool, units, fork }: Path, x: Tensor): Tensor[] {
  let y = x;
  if (pool === "max") y = maxPool2d(x, { size: 3, stride: 1, padding: 1 });
  if (pool === "max, stride 2") y = maxPool2d(x, { size: 3, stride: 2 });
  for (const [i, unit] of units.entries()) {
    y = pool === "average" && i === 0 ? unit.forwardOfAverages(y) : unit.forward(y);
  }
  return fork.length === 0 ? [y] : fork.map((unit) => unit.forward(y));
}
