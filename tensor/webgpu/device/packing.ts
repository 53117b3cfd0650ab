/**
 * Launches with more arrays than the GPU binds (WebGPU promises 8 storage buffers a shader): some
 * of the arrays are copied side by side into one, which takes one binding, and those that the
 * launch writes are copied back. The kernel itself computes the same from the same elements.
 */
import { type View, viewBytes } from "../../view.ts";
import { type DType, DTYPE_BYTES } from "../../dtype.ts";
import { DeviceError } from "../../errors.ts";
import type { Bindings } from "./bindings.ts";
import type { Dispatch } from "./dispatch.ts";

/** The views that share one binding, and the bytes of their buffer that they span. */
interface Span {
  readonly dtype: DType;
  readonly views: number[];
  start: number;
  end: number;
  written: boolean;
}

/** Bytes to which copies are aligned: vec4 accesses stay aligned as they were. */
const ALIGN = 16;

/** What packing needs of the runtime. */
export interface Packer {
  readonly maxBindingBytes: number;
  readonly maxArrays: number;
  alloc(bytes: number, op: string): View["buffer"];
  free(buffer: View["buffer"]): void;
  /** Records a copy between buffers, in the order of all other work. */
  copy(from: View["buffer"], at: number, to: View["buffer"], start: number, bytes: number): void;
  dispatch(d: Dispatch): void;
}

/** Launches `d`, whose `bindings` are more than the GPU has, with some of its arrays packed. */
export function dispatchPacked(runtime: Packer, d: Dispatch, bindings: Bindings): void {
  const spans = choose(runtime, d, spansOf(d, bindings), bindings.count);
  const bytes = spans.reduce((sum, s) => sum + s.end - s.start, 0);
  const pack = runtime.alloc(bytes, d.op);
  try {
    const views = [...d.views];
    const copies: { span: Span; at: number; buffer: View["buffer"] }[] = [];
    let at = 0;
    for (const span of spans) {
      const { buffer } = d.views[span.views[0]!]!.view;
      copies.push({ span, at, buffer });
      runtime.copy(buffer, span.start, pack, at, span.end - span.start);
      for (const i of span.views) {
        const { view } = views[i]!;
        const offset = view.offset + (at - span.start) / DTYPE_BYTES[view.dtype];
        // Marked as written, so that all of them share a binding.
        views[i] = { ...views[i]!, access: "readwrite", view: { ...view, buffer: pack, offset } };
      }
      at += span.end - span.start;
    }
    runtime.dispatch({ ...d, views });
    for (const { span, at, buffer } of copies) {
      if (span.written) runtime.copy(pack, at, buffer, span.start, span.end - span.start);
    }
  } finally {
    runtime.free(pack);
  }
}

function spansOf(d: Dispatch, { slots, blocks, count }: Bindings): Span[] {
  const spans: Span[] = [];
  for (let slot = 0; slot < count; slot++) {
    const views = d.views.flatMap((_, i) => (slots[i] === slot ? [i] : []));
    const ends = views.map((i) => viewBytes(d.views[i]!.view));
    const end = Math.ceil(Math.max(...ends.map((e) => e.end)) / ALIGN) * ALIGN;
    spans.push({
      dtype: d.views[views[0]!]!.view.dtype,
      views,
      start: Math.floor(Math.min(...ends.map((e) => e.start)) / ALIGN) * ALIGN,
      end: Math.min(end, blocks[slot]!.size),
      written: views.some((i) => d.views[i]!.access !== "read"),
    });
  }
  return spans;
}

/** The cheapest arrays of one type that leave few enough bindings when they become one. */
function choose(runtime: Packer, d: Dispatch, spans: readonly Span[], count: number): Span[] {
  const wanted = count - runtime.maxArrays + 1;
  const cost = (s: Span): number => (s.end - s.start) * (s.written ? 2 : 1);
  const size = (list: Span[]): number => list.reduce((sum, s) => sum + s.end - s.start, 0);
  const candidates = [...new Set(spans.map((s) => s.dtype))]
    .map((dtype) =>
      spans.filter((s) => s.dtype === dtype).sort((a, b) => cost(a) - cost(b)).slice(0, wanted)
    )
    .filter((list) => list.length === wanted && size(list) <= runtime.maxBindingBytes)
    .sort((a, b) => size(a) - size(b));
  if (candidates.length > 0) return candidates[0]!;
  throw new DeviceError(
    `${d.op}: expected at most ${runtime.maxArrays} arrays, or arrays of one type within ` +
      `${runtime.maxBindingBytes} bytes to pack, on this GPU but got ${count} arrays`,
  );
}
