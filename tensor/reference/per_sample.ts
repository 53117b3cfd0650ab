/** Factors and sums that have one row for each sample, or one for all. */
import type { View } from "../view.ts";
import { floatsOf } from "./buffer.ts";

/** Element [b, n] of a [B, N] view, or [n] of an [N] view; `missing` where there is none. */
export function reader(view: View | null, missing: number): (b: number, n: number) => number {
  if (!view) return () => missing;
  const data = floatsOf(view);
  const rank = view.shape.length;
  const perSample = rank === 2 ? view.strides[0]! : 0;
  const step = view.strides[rank - 1]!;
  return (b, n) => data[view.offset + b * perSample + n * step]!;
}

/** A [B, N] or [N] sum that is being collected, or nothing where the view is null. */
export function collector(view: View | null): (b: number, n: number, value: number) => void {
  if (!view) return () => {};
  const data = floatsOf(view);
  const width = view.shape.at(-1)!;
  const samples = view.shape.length === 2 ? view.shape[0]! : 1;
  const perSample = view.shape.length === 2 ? view.strides[0]! : 0;
  for (let b = 0; b < samples; b++) {
    data.fill(0, view.offset + b * perSample, view.offset + b * perSample + width);
  }
  return (b, n, value) => {
    data[view.offset + b * perSample + n]! += value;
  };
}
