/** Launching matrix products. */
import type { Activation } from "../kernels.ts";
import type { Device } from "../storage.ts";
import { type Program, program } from "../expr.ts";
import { ShapeError, shapeText } from "../errors.ts";
import {
  broadcastShapes,
  broadcastStrides,
  collapse,
  contiguousStrides,
  type Shape,
  sizeOf,
} from "../shape.ts";
import { empty, Tensor } from "../tensor.ts";
import { dispatch } from "./dispatch.ts";
import { commonDevice, contiguous, copy, fillInto, floatOf } from "./elementwise.ts";
import type { Formula } from "./formulas.ts";

/** What is done to a product before it is stored. */
export interface ProductOptions {
  /** Added to every row: [N]. */
  bias?: Tensor | null;
  /** Applied to the sum; `"none"` by default. */
  activation?: Activation;
  /** Whether to give the value before the activation as well. */
  keepPre?: boolean;
  /** Applied to the elements of `a` as they are read, where there are no `sums`; none by default. */
  activationA?: Activation;
  /** Applied to the elements of `b` as they are read; none by default. */
  activationB?: Activation;
  /** Of the product and a tensor of its shape, row-major: what is stored in its place. */
  combine?: { readonly formula: Formula; readonly operand: Tensor } | null;
  /** Where the sums of the rows of `a` go: [..., M], f32 and row-major. */
  sums?: Tensor | null;
  /** Type of the result; that of `a` by default. */
  dtype?: "f32" | "f16";
  /** Where the result goes, row-major; a new tensor by default. */
  into?: Tensor | null;
}

/**
 * `activation(a b + bias)` for a [..., M, K] and b [..., K, N], batch dimensions broadcast. `pre`
 * is the value before the activation where asked for. Each operand may be f32 or f16: the result
 * has the type of `a`, so that weights may be stored in half the memory.
 */
export function product(
  op: string,
  a: Tensor,
  b: Tensor,
  options: ProductOptions = {},
): { out: Tensor; pre: Tensor | null } {
  const { bias = null, activation = "none", keepPre = false, into = null } = options;
  const { combine = null, sums = null, activationA = "none", activationB = "none" } = options;
  const tensors = [a, b, bias, combine?.operand].filter((t) => t instanceof Tensor);
  const device = commonDevice(op, tensors);
  const own = floatOf(op, a, [b, bias]);
  const dtype = options.dtype ?? own;
  const [m, k] = [a.shape.at(-2), a.shape.at(-1)];
  const [k2, n] = [b.shape.at(-2), b.shape.at(-1)];
  if (m === undefined || k2 === undefined || k === undefined || n === undefined || k !== k2) {
    throw new ShapeError(
      `${op}: expected [..., M, K] and [..., K, N] but got ${shapeText(a.shape)} and ${
        shapeText(b.shape)
      }`,
    );
  }
  if (bias && (bias.rank !== 1 || bias.shape[0] !== n)) {
    throw new ShapeError(`${op}: expected a bias of [${n}] but got ${shapeText(bias.shape)}`);
  }
  const batch = broadcastShapes(op, a.shape.slice(0, -2), b.shape.slice(0, -2));
  const shape = [...batch, m, n];
  if (k === 0 && sizeOf(shape) > 0) { // an empty sum is the product with a single zero
    using column = empty(device, dtype, [m, 1], op);
    using row = empty(device, dtype, [1, n], op);
    fillInto(column, 0, op);
    fillInto(row, 0, op);
    using x = column.as([...batch, m, 1], [...batch.map(() => 0), 1, 1]);
    return product(op, x, row, options);
  }
  const out = into ?? empty(device, dtype, shape, op);
  const pre = keepPre ? empty(device, dtype, shape, op) : null;
  if (sizeOf(shape) === 0) return { out, pre };
  const [x, y] = fourDimensional(a, b, batch, op);
  const packedBias = bias && contiguous(bias, op); // kernels take its elements as neighbours
  const outer = [x.shape[0]!, x.shape[1]!, m, n];
  using flat = out.as(outer, contiguousStrides(outer));
  const flatPre = pre && pre.as(outer, contiguousStrides(outer));
  const operand = combine && combine.operand.as(outer, contiguousStrides(outer));
  const flatSums = sums && sums.as(outer.slice(0, 3), contiguousStrides(outer.slice(0, 3)));
  dispatch(op, "matmul", device, {
    a: x,
    b: y,
    activationA,
    activationB,
    bias: packedBias,
    activation,
    pre: flatPre,
    combine: combine && combining(combine.formula),
    operand,
    sums: flatSums,
    out: flat,
    accumulate: false,
  });
  for (const t of [x, y, packedBias, flatPre, operand, flatSums]) t?.dispose();
  return { out, pre };
}

/**
 * Whether an activation is better applied again by each product that reads what it gives than stored
 * for the gradient. Products of f16 want it stored: matrix units take operands as they lie in memory.
 */
export function isReadThrough(device: Device, dtype: "f32" | "f16"): boolean {
  return dtype === "f32" && device.backend.activatesOperands === true;
}

/** A formula of a product and what it is combined with. */
function combining(formula: Formula): Program {
  const float = { kind: "input", ty: "f32" } as const;
  return program(formula.name, [float, float], formula.build);
}

/** Both operands with the two batch dimensions that kernels take; copies where strides forbid. */
function fourDimensional(a: Tensor, b: Tensor, batch: Shape, op: string): [Tensor, Tensor] {
  const strides = [a, b].map((t) =>
    broadcastStrides(t.shape.slice(0, -2), t.strides.slice(0, -2), batch)
  );
  const merged = collapse(batch, strides);
  if (merged.shape.length > 2) {
    const wide = [a, b].map((t, i) => {
      using whole = t.as([...batch, ...t.shape.slice(-2)], [
        ...strides[i]!,
        ...t.strides.slice(-2),
      ]);
      return copy(whole, whole.dtype, op);
    });
    const [x, y] = fourDimensional(wide[0]!, wide[1]!, batch, op);
    wide.forEach((t) => t.dispose());
    return [x, y];
  }
  const lead = merged.shape.length === 1;
  const [x, y] = [a, b].map((t, i) => {
    const steps = merged.strides[i]!;
    return t.as(
      [...(lead ? [1] : []), ...merged.shape, ...t.shape.slice(-2)],
      [...(lead ? [0] : []), ...steps, ...t.strides.slice(-2)],
    );
  });
  return [x!, y!];
}
