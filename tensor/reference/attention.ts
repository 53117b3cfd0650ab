import type { KernelArgs } from "../kernels.ts";
import type { View } from "../view.ts";
import { floatsOf } from "./buffer.ts";
import type { Trials } from "./trial.ts";

/** Where row [b, h, t] of a [B, H, T, D] view begins. */
function rowAt(view: View, b: number, h: number, t: number): number {
  return view.offset + b * view.strides[0]! + h * view.strides[1]! + t * view.strides[2]!;
}

function dot(
  a: Float64Array,
  aAt: number,
  b: Float64Array,
  bAt: number,
  length: number,
): number {
  let sum = 0;
  for (let d = 0; d < length; d++) sum += a[aAt + d]! * b[bAt + d]!;
  return sum;
}

/** See {@linkcode KernelArgs}. */
export function attention({ q, k, v, scale, out, stats }: KernelArgs["attention"]): void {
  const [batch, heads, queries, depth] = q.shape as [number, number, number, number];
  const keys = k.shape[2]!;
  const [Q, K, V] = [floatsOf(q), floatsOf(k), floatsOf(v)];
  const [Y, S] = [floatsOf(out), floatsOf(stats)];
  const scores = new Float64Array(keys);
  let statsAt = stats.offset;
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      for (let t = 0; t < queries; t++) {
        const qAt = rowAt(q, b, h, t);
        let largest = -Infinity;
        for (let s = 0; s < keys; s++) {
          scores[s] = dot(Q, qAt, K, rowAt(k, b, h, s), depth);
          largest = Math.max(largest, scores[s]!);
        }
        let sum = 0;
        for (let s = 0; s < keys; s++) sum += scores[s] = Math.exp((scores[s]! - largest) * scale);
        S[statsAt++] = largest;
        S[statsAt++] = Math.log(sum);
        const yAt = rowAt(out, b, h, t);
        Y.fill(0, yAt, yAt + depth);
        for (let s = 0; s < keys; s++) {
          const weight = scores[s]! / sum;
          const vAt = rowAt(v, b, h, s);
          for (let d = 0; d < depth; d++) Y[yAt + d]! += weight * V[vAt + d]!;
        }
      }
    }
  }
}

/**
 * See {@linkcode KernelArgs}. With P = e^((s - largest) scale - logSum) and dP = g vT: dv = PT g,
 * dS = P (dP - sum(g out)), dq = scale dS k, dk = scale dST q (FlashAttention, arXiv 2205.14135).
 */
export function attentionGrad(args: KernelArgs["attentionGrad"]): void {
  const { q, k, v, out, stats, g, scale, dq, dk, dv } = args;
  const [batch, heads, queries, depth] = q.shape as [number, number, number, number];
  const keys = k.shape[2]!;
  const [Q, K, V, Y] = [floatsOf(q), floatsOf(k), floatsOf(v), floatsOf(out)];
  const [S, G] = [floatsOf(stats), floatsOf(g)];
  const [DQ, DK, DV] = [floatsOf(dq), floatsOf(dk), floatsOf(dv)];
  let statsAt = stats.offset;
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      for (let s = 0; s < keys; s++) {
        DK.fill(0, rowAt(dk, b, h, s), rowAt(dk, b, h, s) + depth);
        DV.fill(0, rowAt(dv, b, h, s), rowAt(dv, b, h, s) + depth);
      }
      for (let t = 0; t < queries; t++) {
        const [qAt, gAt, dqAt] = [rowAt(q, b, h, t), rowAt(g, b, h, t), rowAt(dq, b, h, t)];
        const delta = dot(G, gAt, Y, rowAt(out, b, h, t), depth);
        const [largest, logSum] = [S[statsAt++]!, S[statsAt++]!];
        DQ.fill(0, dqAt, dqAt + depth);
        for (let s = 0; s < keys; s++) {
          const kAt = rowAt(k, b, h, s);
          const dkAt = rowAt(dk, b, h, s);
          const dvAt = rowAt(dv, b, h, s);
          const p = Math.exp((dot(Q, qAt, K, kAt, depth) - largest) * scale - logSum);
          const ds = scale * p * (dot(G, gAt, V, rowAt(v, b, h, s), depth) - delta);
          for (let d = 0; d < depth; d++) {
            DQ[dqAt + d]! += ds * K[kAt + d]!;
            DK[dkAt + d]! += ds * Q[qAt + d]!;
            DV[dvAt + d]! += p * G[gAt + d]!;
          }
        }
      }
    }
  }
}

export const attentionTrials: Trials<"attention"> = [(x) => ({
  q: x.input([1, 2, 19, 16]),
  k: x.input([1, 2, 23, 16]),
  v: x.input([1, 2, 23, 16]),
  scale: 0.25,
  out: x.output([1, 2, 19, 16]),
  stats: x.output([1, 2, 19, 2], "f32"),
})];

export const attentionGradTrials: Trials<"attentionGrad"> = [(x) => ({
  q: x.input([1, 2, 19, 16], -0.1, 0.1),
  k: x.input([1, 2, 23, 16]),
  v: x.input([1, 2, 23, 16]),
  out: x.input([1, 2, 19, 16]),
  stats: x.single([1, 2, 19, 2], 1.6, 2), // no score is larger
  g: x.input([1, 2, 19, 16]),
  scale: 0.25,
  dq: x.output([1, 2, 19, 16]),
  dk: x.output([1, 2, 23, 16]),
  dv: x.output([1, 2, 23, 16]),
})];
