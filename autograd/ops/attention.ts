/** Scaled dot product attention (arXiv 1706.03762) that never stores the scores. */
import {
  checkOptionNames,
  commonFloat,
  dispatch,
  empty,
  fillInto,
  permuted,
  sameShape,
  type Shape,
  ShapeError,
  shapeText,
  type Tensor,
  tensor,
  unitInner,
} from "../../tensor/mod.ts";
import { defineOp } from "../op.ts";
import { mul, neg } from "./elementwise.ts";

interface AttentionAttrs {
  scale: number;
}

/** q [B, H, Tq, D], k and v [B, H, Tk, D] -> out laid out [B, Tq, H, D], seen as [B, H, Tq, D]. */
function forward(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  scale: number,
): { out: Tensor; stats: Tensor } {
  commonFloat("attention", [q, k, v]);
  const [b, h, t, d] = q.shape as [number, number, number, number];
  const store = empty(q.device, q.dtype, [b, t, h, d], "attention");
  const out = permuted(store, [0, 2, 1, 3]);
  const stats = empty(q.device, "f32", [b, h, t, 2], "attention");
  if (out.size > 0 && k.shape[2] === 0) {
    throw new ShapeError("attention: expected at least one key but got none");
  }
  if (out.size > 0) dispatch("attention", "attention", q.device, { q, k, v, scale, out, stats });
  return { out, stats };
}

const callAttention = defineOp<
  AttentionAttrs,
  readonly [Tensor, Tensor, Tensor, Tensor, Tensor]
>({
  name: "attention",
  cast: "half",
  forward: (inputs, { scale }) => {
    const [q, k, v] = inputs.map((t) => unitInner(t!, "attention")) as [Tensor, Tensor, Tensor];
    const { out, stats } = forward(q, k, v, scale);
    return { out, saved: [q, k, v, out, stats] };
  },
  backward: ([g], [q, k, v, out, stats], { scale }, needs) => {
    const [dq, dk, dv] = [q, k, v].map((t) => empty(t.device, t.dtype, t.shape, "attention"));
    if (q.size > 0) {
      using upstream = unitInner(g!, "attention");
      const grads = { dq: dq!, dk: dk!, dv: dv! };
      const args = { q, k, v, out, stats, g: upstream, scale, ...grads };
      dispatch("attention", "attentionGrad", q.device, args);
    } else [dq, dk, dv].forEach((t) => fillInto(t!, 0));
    return [dq!, dk!, dv!].map((t, i) => needs[i] ? t : null);
  },
  samples: [
    {
      name: "17 tokens",
      inputs: [17, 17, 17].map((t) => ({ shape: [2, 3, t, 16] })),
      call: ([q, k, v]) => attention(q!, k!, v!),
    },
    {
      name: "more keys than queries, strided",
      inputs: [3, 9, 9].map((t) => ({ shape: [1, 2, t, 5], strided: true })),
      call: ([q, k, v]) => attention(q!, k!, v!, { scale: 0.7 }),
    },
    {
      name: "one token",
      inputs: [1, 1, 1].map((t) => ({ shape: [1, 1, t, 8] })),
      call: ([q, k, v]) => attention(q!, k!, v!),
    },
  ],
});

/** Settings of attention. */
export interface AttentionOptions {
  /** Factor of the scores before softmax; D^-0.5 by default. */
  scale?: number;
}

/** softmax(q kᵀ scale) v for q [B, H, Tq, D], k and v [B, H, Tk, D]: [B, H, Tq, D]. */
export function attention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions = {},
): Tensor {
  checkOptionNames("attention", options, { scale: 1 });
  const d = q.shape[3];
  const fits = q.rank === 4 && k.rank === 4 && sameShape(k.shape, v.shape) && k.shape[3] === d &&
    q.shape[0] === k.shape[0] && q.shape[1] === k.shape[1];
  if (!fits) {
    throw new ShapeError(
      `attention: expected q [B, H, Tq, D], k and v [B, H, Tk, D] but got ${
        [q, k, v].map((t) => shapeText(t.shape)).join(", ")
      }`,
    );
  }
  const { scale = d! ** -0.5 } = options;
  if (scale < 0) return attention(neg(q), k, v, { scale: -scale }); // kernels take 0 or more
  return callAttention([q, k, v], { scale })[0]!;
}

/** q, k and v as [B, H, T, D] views of qkv [B, T, 3 H D]. */
function heads(qkv: Tensor, count: number): [Tensor, Tensor, Tensor] {
  const [b, t, width] = qkv.shape as [number, number, number];
  const d = width / 3 / count;
  const [sb, st] = qkv.strides as [number, number, number];
  const shape: Shape = [b, count, t, d];
  const view = (which: number) => qkv.as(shape, [sb, d, st, 1], qkv.offset + which * count * d);
  return [view(0), view(1), view(2)];
}

const callSelfAttention = defineOp<
  AttentionAttrs & { heads: number },
  readonly [Tensor, Tensor, Tensor]
>({
  name: "selfAttention",
  cast: "half",
  forward: ([x], { heads: count, scale }) => {
    const qkv = unitInner(x!, "selfAttention");
    const [q, k, v] = heads(qkv, count);
    const { out, stats } = forward(q, k, v, scale);
    const [b, t, width] = qkv.shape as [number, number, number];
    const flat = out.as([b, t, width / 3], [t * width / 3, width / 3, 1]);
    return { out: flat, saved: [qkv, out, stats] };
  },
  backward: ([g], [qkv, out, stats], { heads: count, scale }) => {
    const grad = empty(qkv.device, qkv.dtype, qkv.shape, "selfAttention");
    if (grad.size === 0) return [grad];
    const [q, k, v] = heads(qkv, count);
    const [dq, dk, dv] = heads(grad, count);
    const d = out.shape[3]!;
    using rows = unitInner(g!, "selfAttention");
    const [sb, st] = rows.strides as [number, number, number];
    const upstream = rows.as(out.shape, [sb, d, st, 1]);
    const args = { q, k, v, out, stats, g: upstream, scale, dq, dk, dv };
    dispatch("selfAttention", "attentionGrad", qkv.device, args);
    return [grad];
  },
  samples: [{
    name: "3 heads",
    inputs: [{ shape: [2, 5, 144] }],
    call: ([x]) => selfAttention(x!, 3),
  }, {
    name: "1 head, strided",
    inputs: [{ shape: [3, 7, 15], strided: true }],
    call: ([x]) => selfAttention(x!, 1),
  }],
});

/**
 * Attention of tokens among themselves, from the output of one linear layer: qkv [B, T, 3 H D],
 * the thirds being queries, keys and values, each of `count` heads. Gives [B, T, H D]; nothing is
 * split, permuted or joined on the way.
 */
export function selfAttention(qkv: Tensor, count: number, options: AttentionOptions = {}): Tensor {
  checkOptionNames("selfAttention", options, { scale: 1 });
  const width = qkv.shape[2];
  const whole = Number.isInteger(count) && count >= 1;
  if (qkv.rank !== 3 || !whole || width! % (3 * count) !== 0) {
    throw new ShapeError(
      `selfAttention: expected qkv [B, T, 3 * heads * D] for ${count} heads but got ${
        shapeText(qkv.shape)
      }`,
    );
  }
  const { scale = (width! / 3 / count) ** -0.5 } = options;
  if (scale < 0) { // kernels take 0 or more
    const signs = Float32Array.from({ length: width! }, (_, i) => i < width! / 3 ? -1 : 1);
    const negated = mul(qkv, tensor(signs, [width!], { dtype: qkv.dtype, device: qkv.device }));
    return selfAttention(negated, count, { scale: -scale });
  }
  return callSelfAttention([qkv], { heads: count, scale })[0]!;
}
