/** Scaled dot product attention (arXiv 1706.03762) that never stores the scores. */
import {
  checkOperands,
  checkOptionNames,
  checkSetting,
  commonFloat,
  contiguous,
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
import { type RotaryTables, sampleTables, turned } from "./rotary.ts";

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
  checkOperands("attention", [q, k, v]);
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
  if (options.scale !== undefined) checkSetting("attention", "scale", scale);
  if (scale < 0) return attention(neg(q), k, v, { scale: -scale }); // kernels take 0 or more
  return callAttention([q, k, v], { scale })[0]!;
}

/** What one linear layer gave, qkv [B, T, 3 H D], or a part of it, seen as heads. */
function byHead(x: Tensor, count: number, d: number): Tensor {
  const [b, t] = x.shape as [number, number];
  const [sb, st] = x.strides as [number, number];
  return x.as([b, t, count, d], [sb, st, d, 1]);
}

/** The `which`-th `count` heads of x [B, T, more heads, D], as [B, H, T, D]. */
function headsOf(x: Tensor, which: number, count: number): Tensor {
  const [b, t, , d] = x.shape as [number, number, number, number];
  const [sb, st, sh] = x.strides as [number, number, number, number];
  const shape: Shape = [b, count, t, d];
  return x.as(shape, [sb, sh, st, 1], x.offset + which * count * sh);
}

const callSelfAttention = defineOp<
  AttentionAttrs & { heads: number },
  readonly [Tensor, Tensor, Tensor, ...Tensor[]]
>({
  name: "selfAttention",
  cast: "half",
  forward: ([x, ...tables], { heads: count, scale }) => {
    const qkv = unitInner(x!, "selfAttention");
    const d = qkv.shape[2]! / 3 / count;
    const all = byHead(qkv, 3 * count, d);
    const v = headsOf(all, 2, count);
    if (tables.length === 0) {
      const { out, stats } = forward(headsOf(all, 0, count), headsOf(all, 1, count), v, scale);
      return { out: joined(out), saved: [qkv, out, stats] };
    }
    const [cosine, sine] = tables.map((table) => contiguous(table!)) as [Tensor, Tensor];
    const qk = turned(byHead(qkv, 2 * count, d), { cosine, sine }, { op: "selfAttention" });
    const { out, stats } = forward(headsOf(qk, 0, count), headsOf(qk, 1, count), v, scale);
    return { out: joined(out), saved: [qkv, out, stats, qk, cosine, sine] };
  },
  backward: ([g], [qkv, out, stats, qk, cosine, sine], { heads: count, scale }) => {
    const op = "selfAttention";
    const grad = empty(qkv.device, qkv.dtype, qkv.shape, op);
    const constants = qk ? [null, null] : [];
    if (grad.size === 0) return [grad, ...constants];
    const d = out.shape[3]!;
    const all = byHead(qkv, 3 * count, d);
    const [ofQk, ofAll] = [qk ?? all, byHead(grad, 3 * count, d)];
    const gradQk = qk ? empty(qk.device, qk.dtype, qk.shape, op) : ofAll;
    using rows = unitInner(g!, op);
    dispatch(op, "attentionGrad", qkv.device, {
      q: headsOf(ofQk, 0, count),
      k: headsOf(ofQk, 1, count),
      v: headsOf(all, 2, count),
      out,
      stats,
      g: headsOf(byHead(rows, count, d), 0, count),
      scale,
      dq: headsOf(gradQk, 0, count),
      dk: headsOf(gradQk, 1, count),
      dv: headsOf(ofAll, 2, count),
    });
    if (qk) {
      const tables = { cosine: cosine!, sine: sine! };
      turned(gradQk, tables, { inverse: true, op, out: byHead(grad, 2 * count, d) });
      gradQk.dispose();
    }
    return [grad, ...constants];
  },
  samples: [{
    name: "3 heads",
    inputs: [{ shape: [2, 5, 144] }],
    call: ([x]) => selfAttention(x!, 3),
  }, {
    name: "1 head, strided",
    inputs: [{ shape: [3, 7, 15], strided: true }],
    call: ([x]) => selfAttention(x!, 1),
  }, {
    name: "2 heads, turned",
    inputs: [{ shape: [2, 5, 36] }],
    call: ([x]) => selfAttention(x!, 2, { rotary: sampleTables(5, 6) }),
  }, {
    name: "1 head, turned, strided, of a negative scale",
    inputs: [{ shape: [1, 7, 12], strided: true }],
    call: ([x]) => selfAttention(x!, 1, { rotary: sampleTables(7, 4), scale: -0.4 }),
  }],
});

/** [B, H, T, D] that is laid out [B, T, H, D], as [B, T, H D]. */
function joined(out: Tensor): Tensor {
  const [b, h, t, d] = out.shape as [number, number, number, number];
  return out.as([b, t, h * d], [t * h * d, h * d, 1]);
}

/** Settings of attention of tokens among themselves. */
export interface SelfAttentionOptions extends AttentionOptions {
  /** Angles by which queries and keys are turned first, [T, D], constants: see rotaryEmbedding. */
  rotary?: RotaryTables | null;
}

/**
 * Attention of tokens among themselves, from the output of one linear layer: qkv [B, T, 3 H D],
 * the thirds being queries, keys and values, each of `count` heads. Gives [B, T, H D]; nothing is
 * split, permuted or joined on the way.
 *
 * @throws {ShapeError} where qkv is no such output, or the angles are not those of its tokens.
 */
export function selfAttention(
  qkv: Tensor,
  count: number,
  options: SelfAttentionOptions = {},
): Tensor {
  checkOperands("selfAttention", [qkv]);
  checkOptionNames("selfAttention", options, { scale: 1, rotary: 1 });
  const width = qkv.shape[2];
  const whole = Number.isInteger(count) && count >= 1;
  if (qkv.rank !== 3 || !whole || width! % (3 * count) !== 0) {
    throw new ShapeError(
      `selfAttention: expected qkv [B, T, 3 * heads * D] for ${count} heads but got ${
        shapeText(qkv.shape)
      }`,
    );
  }
  const d = width! / 3 / count;
  const { scale = d ** -0.5, rotary = null } = options;
  if (options.scale !== undefined) checkSetting("selfAttention", "scale", scale);
  const tables = rotary ? [rotary.cosine, rotary.sine] : [];
  checkOperands("selfAttention", [qkv, ...tables]);
  if (!tables.every((table) => sameShape(table.shape, [qkv.shape[1]!, d])) || tables[0] && d % 2) {
    throw new ShapeError(
      `selfAttention: expected rotary tables [${qkv.shape[1]}, ${d}], of an even number a head, ` +
        `but got ${tables.map((table) => shapeText(table.shape)).join(" and ")}`,
    );
  }
  if (scale < 0) { // kernels take 0 or more
    const signs = Float32Array.from({ length: width! }, (_, i) => i < width! / 3 ? -1 : 1);
    const negated = mul(qkv, tensor(signs, [width!], { dtype: qkv.dtype, device: qkv.device }));
    return selfAttention(negated, count, { scale: -scale, rotary });
  }
  return callSelfAttention([qkv, ...tables], { heads: count, scale })[0]!;
}
