/** Rotary position embedding (arXiv 2104.09864). */
import {
  arange,
  checkOperands,
  commonFloat,
  contiguous,
  dispatch,
  empty,
  sameShape,
  ShapeError,
  shapeText,
  type Tensor,
  unitInner,
} from "../../tensor/mod.ts";
import { defineOp } from "../op.ts";
import { cos, mul, sin } from "./elementwise.ts";
import { concat } from "./parts.ts";
import { reshape } from "./shape.ts";

/** Angles of every token, as {@linkcode rotaryEmbedding} takes them: [T, D], constants. */
export interface RotaryTables {
  /** Their cosines, each twice: for the first and the second of a pair. */
  readonly cosine: Tensor;
  /** Their sines, each twice. */
  readonly sine: Tensor;
}

const callRotary = defineOp<null, readonly [Tensor, Tensor]>({
  name: "rotaryEmbedding",
  cast: "half",
  forward: ([x, cosine, sine]) => {
    const tables = { cosine: contiguous(cosine!), sine: contiguous(sine!) };
    return { out: turned(x!, tables), saved: [tables.cosine, tables.sine] };
  },
  // turned back; the tables are constants
  backward: ([g], [cosine, sine]) => [turned(g!, { cosine, sine }, { inverse: true }), null, null],
  samples: [{
    name: "3 tokens",
    inputs: [{ shape: [2, 3, 2, 6] }],
    call: ([x]) => rotaryEmbedding(x!, sampleTables(3, 6)),
  }, {
    name: "strided",
    inputs: [{ shape: [2, 5, 1, 4], strided: true }],
    call: ([x]) => rotaryEmbedding(x!, sampleTables(5, 4)),
  }],
});

/** Tables of some angles, for samples of ops. */
export function sampleTables(tokens: number, width: number): RotaryTables {
  const angles = mul(reshape(arange(0, tokens * width / 2), [-1, 1]), 0.3);
  const pairs = reshape(concat([angles, angles], 1), [tokens, width]);
  return { cosine: cos(pairs), sine: sin(pairs) };
}

/** Where pairs are turned to, and which way. */
interface TurnOptions {
  /** Backwards, which is what a gradient is turned by; false by default. */
  readonly inverse?: boolean;
  /** Of x's shape with unit inner stride, not x itself; a new tensor by default. */
  readonly out?: Tensor;
  /** Whose kernel it is; rotaryEmbedding by default. */
  readonly op?: string;
}

/**
 * Turned pairs of x [B, T, H, D]: the kernel of {@linkcode rotaryEmbedding} without its gradient.
 *
 * @param tables Contiguous.
 */
export function turned(
  x: Tensor,
  { cosine, sine }: RotaryTables,
  { inverse = false, op = "rotaryEmbedding", out }: TurnOptions = {},
): Tensor {
  commonFloat(op, [x]);
  commonFloat(op, [cosine, sine]); // perhaps of another type than x
  const target = out ?? empty(x.device, x.dtype, x.shape, op);
  if (target.size === 0) return target;
  using inner = unitInner(x, op);
  dispatch(op, "rotary", x.device, { x: inner, cosine, sine, inverse, out: target });
  return target;
}

/**
 * Neighbours 2i and 2i + 1 of each head of x [B, T, H, D], as pairs turned by the angle that the
 * tables [T, D] have for the token: (a, b) becomes (a cos - b sin, b cos + a sin). The product of a
 * query and a key turned so depends on how far apart they are.
 *
 * @throws {ShapeError} where D is odd, or the tables are not [T, D].
 */
export function rotaryEmbedding(x: Tensor, tables: RotaryTables): Tensor {
  checkOperands("rotaryEmbedding", [x, tables?.cosine, tables?.sine]);
  const [, tokens, , width] = x.shape;
  const wanted = [tokens ?? 0, width ?? 0];
  const { cosine, sine } = tables;
  const fits = x.rank === 4 && width! % 2 === 0 &&
    [cosine, sine].every((table) => sameShape(table.shape, wanted));
  if (!fits) {
    throw new ShapeError(
      `rotaryEmbedding: expected x [B, T, H, D] with an even D and constant tables [T, D] but got ${
        [x, cosine, sine].map((t) => shapeText(t.shape)).join(", ")
      }`,
    );
  }
  return callRotary([x, cosine, sine], null)[0]!;
}
