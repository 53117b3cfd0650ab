/** How the attention kernels are written, by GPU and by class of shape. */
import type { GpuTraits } from "../device/traits.ts";
import type { TileCode } from "../shader/tile.ts";
import { sizeClass } from "./size_class.ts";

/** A way to write an attention kernel. */
export interface AttentionCode extends Pick<TileCode, "masked" | "unrolled"> {
  /**
   * Groups of 32 columns in a tile of scores: two need more registers and read workgroup memory
   * less. Sums are added in another order.
   */
  readonly groups: 1 | 2;
  /**
   * Whether queries stay in workgroup memory while keys pass by, where there is room for whole heads
   * of them. Only forward, and without a difference to the bits.
   */
  readonly kept?: boolean;
  /** Whether it was measured to be faster than matrix units, which are used otherwise. */
  readonly overMatrices?: boolean;
}

/** How the kernels are written: forward, and for either gradient. */
export interface AttentionPlan {
  readonly forward: AttentionCode;
  readonly queries: AttentionCode;
  readonly keys: AttentionCode;
  /** Whether the gradients were measured to be faster in launches of their own than in a shared one. */
  readonly apart?: boolean;
}

/** Sizes that decide which plan is the best. */
export interface AttentionSize {
  readonly dtype: string;
  /** Of a head. */
  readonly depth: number;
  readonly queries: number;
  readonly keys: number;
}

/** What attention is planned by. */
export interface AttentionPlans {
  readonly traits: Pick<GpuTraits, "writtenOut">;
  /** What was measured, by class of shape. */
  readonly attention: Readonly<Record<string, AttentionPlan>>;
}

/** The class of shapes that have one plan: depths differ in the code, numbers of tokens by size. */
export function attentionClass({ dtype, depth, queries, keys }: AttentionSize): string {
  return `${dtype} ${depth} ${sizeClass(queries)}x${sizeClass(keys)}`;
}

/** As measured for this class of shape, or else as is usual on GPUs of these traits. */
export function planAttention(size: AttentionSize, plans: AttentionPlans): AttentionPlan {
  return plans.attention[attentionClass(size)] ?? usualAttention(plans.traits);
}

/**
 * Measured on an H200 for DiT-S/2 and DiT-XL/2 at batch 32, in milliseconds: forward g1 0.16 and
 * 0.49, g2 0.15 and 0.45, g2mu 0.14 and 0.42; both gradients g1mu 0.56 and 1.63, g2mu 0.50 and
 * 1.58, g2 0.47 and 1.48: with two kinds of scores and a result at a time there are no registers
 * left for reads that are moved ahead.
 */
export function usualAttention({ writtenOut }: Pick<GpuTraits, "writtenOut">): AttentionPlan {
  const plain = { masked: false, unrolled: false } as const;
  if (!writtenOut) {
    const one = { ...plain, groups: 1 } as const;
    return { forward: one, queries: one, keys: one };
  }
  const two = { ...plain, groups: 2 } as const;
  return { forward: { masked: true, unrolled: true, groups: 2 }, queries: two, keys: two };
}

/** Names a code in the key of a kernel, and in files. */
export function codeKey({ masked, unrolled, groups, kept = false }: AttentionCode): string {
  return `g${groups}${masked ? "m" : ""}${unrolled ? "u" : ""}${kept ? "k" : ""}`;
}

/** Every way to write a kernel, those that compile quickly first. */
export const ATTENTION_CODES: readonly AttentionCode[] = [false, true].flatMap((full) =>
  ([1, 2] as const).map((groups) => ({ masked: full, unrolled: full, groups }))
);
