/** The engine's attention, of the shapes of training steps, written in several ways. */
import type { Device } from "@dit/core";
import { type DType, DTYPE_BYTES } from "@dit/core/tensor";
import type { View } from "../../tensor/view.ts";
import type { WebGpuBackend } from "../../tensor/webgpu/backend.ts";
import { attention } from "../../tensor/webgpu/kernels/attention.ts";
import { attentionGrad } from "../../tensor/webgpu/kernels/attention_grad.ts";
import {
  ATTENTION_CODES,
  type AttentionCode,
  codeKey,
  usualAttention,
} from "../../tensor/webgpu/kernels/attention_plan.ts";
import type { Report, Row } from "../measure.ts";
import { type Bench, keepsTime } from "./clock.ts";
import { fillUniform } from "./raw.ts";

interface Heads {
  readonly name: string;
  readonly dtype: "f32" | "f16";
  readonly batch: number;
  readonly heads: number;
  readonly tokens: number;
  readonly depth: number;
}

const MODELS: readonly Heads[] = [
  { name: "DiT-S/2", dtype: "f32", batch: 32, heads: 6, tokens: 256, depth: 64 },
  { name: "DiT-XL/2", dtype: "f16", batch: 32, heads: 16, tokens: 256, depth: 72 },
];
const TINY: readonly Heads[] = [
  { name: "tiny", dtype: "f32", batch: 2, heads: 2, tokens: 70, depth: 16 },
];

const ROUNDS = 6;
const WARM_MILLISECONDS = 60;
/** Largest errors over the largest elements. */
const LARGEST_ERROR = { f32: 1e-4, f16: 2e-2 } as const;

/** Results of one head, in float64, in the order of `RESULTS`. */
const RESULTS = ["out", "dq", "dk", "dv"] as const;

/**
 * Times every way to write each of the kernels.
 *
 * @throws {Error} where one of them computes something else.
 */
export async function attentionPlans(
  report: Report,
  device: Device,
  { tiny, left, warmer }: Bench,
): Promise<void> {
  const backend = device.backend as WebGpuBackend;
  const planned = usualAttention(backend.runtime.traits);
  report.note(
    "attention as planned",
    Object.fromEntries(Object.entries(planned).map(([kernel, code]) => [kernel, codeKey(code)])),
  );
  const rows: Row[] = [];
  const wrong: string[] = [];
  for (const model of tiny ? TINY : MODELS) {
    if (left() < 4) return report.note("attention", "no time left for all of it");
    using arrays = new Arrays(backend, model);
    const codes = tiny ? ATTENTION_CODES.slice(0, 1) : ATTENTION_CODES;
    // Compiled and checked first, then timed in turns.
    const errors: number[] = [];
    for (const code of codes) {
      arrays.run(code, codeKey(code));
      const error = await arrays.error();
      errors.push(error);
      if (!(error <= LARGEST_ERROR[model.dtype])) {
        wrong.push(`attention by ${codeKey(code)}: an error of ${error}`);
      }
    }
    warmer?.keep(WARM_MILLISECONDS);
    const profile = !keepsTime(backend) ? [] : await backend.runtime.profile(() => {
      for (let round = 0; round < ROUNDS; round++) {
        for (const code of codes) arrays.run(code, codeKey(code));
      }
    });
    codes.forEach((code, i) => {
      const ms = (kernel: string) =>
        profile.filter((row) => row.op === codeKey(code) && row.kernel.startsWith(kernel))
          .reduce((sum, { milliseconds }) => sum + milliseconds, 0) / ROUNDS;
      rows.push({
        model: model.name,
        dtype: model.dtype,
        code: codeKey(code),
        "forward, ms": ms("attention/"),
        "gradients, ms": ms("attentionGrad/"),
        error: errors[i]!,
      });
    });
    report.add("attention by code", rows);
  }
  if (wrong.length > 0) throw new Error(wrong.join("; "));
}

/** Queries, keys and values beside each other, as a layer gives them, and what becomes of them. */
class Arrays implements Disposable {
  readonly #qkv: Float32Array | Float16Array;
  readonly #g: Float32Array | Float16Array;
  readonly #views: Readonly<Record<"q" | "k" | "v" | "g" | "out" | "dq" | "dk" | "dv", View>>;
  readonly #stats: View;
  readonly #wanted = new Map<number, Record<(typeof RESULTS)[number], Float64Array>>();

  constructor(readonly backend: WebGpuBackend, readonly model: Heads) {
    const { dtype, batch, heads, tokens, depth } = model;
    const width = heads * depth;
    const ArrayType = dtype === "f16" ? Float16Array : Float32Array;
    this.#qkv = fillUniform(new ArrayType(batch * tokens * 3 * width), 1);
    this.#g = fillUniform(new ArrayType(batch * tokens * width), 2);
    const buffer = (length: number, type: DType, data?: Float32Array | Float16Array) => {
      const made = backend.alloc(length * DTYPE_BYTES[type], "bench");
      if (data) backend.write(made, 0, data as Float32Array<ArrayBuffer>);
      return made;
    };
    const view = (of: View["buffer"], parts: number, part: number): View => ({
      buffer: of,
      dtype,
      offset: part * width,
      shape: [batch, heads, tokens, depth],
      strides: [tokens * parts * width, depth, parts * width, 1],
    });
    const qkv = buffer(this.#qkv.length, dtype, this.#qkv);
    const grads = buffer(this.#qkv.length, dtype);
    this.#views = {
      q: view(qkv, 3, 0),
      k: view(qkv, 3, 1),
      v: view(qkv, 3, 2),
      g: view(buffer(this.#g.length, dtype, this.#g), 1, 0),
      out: view(buffer(this.#g.length, dtype), 1, 0),
      dq: view(grads, 3, 0),
      dk: view(grads, 3, 1),
      dv: view(grads, 3, 2),
    };
    const shape = [batch, heads, tokens, 2];
    this.#stats = {
      buffer: buffer(batch * heads * tokens * 2, "f32"),
      dtype: "f32",
      offset: 0,
      shape,
      strides: [heads * tokens * 2, tokens * 2, 2, 1],
    };
  }

  get #scale(): number {
    return this.model.depth ** -0.5;
  }

  /** Forward and backward. */
  run(code: AttentionCode, op: string): void {
    const { runtime } = this.backend;
    const { q, k, v, g, out, dq, dk, dv } = this.#views;
    const [stats, scale] = [this.#stats, this.#scale];
    attention(runtime, { q, k, v, scale, out, stats }, op, code);
    const plan = { queries: code, keys: code };
    attentionGrad(runtime, { q, k, v, scale, out, stats, g, dq, dk, dv }, op, plan);
  }

  /** The largest error of the first and the last head, over the largest element of each result. */
  async error(): Promise<number> {
    const { backend, model: { batch, heads, tokens, depth } } = this;
    let worst = 0;
    for (const head of [0, batch * heads - 1]) {
      const want = this.#want(head);
      const outer = Math.floor(head / heads);
      for (const name of RESULTS) {
        const { buffer, dtype, strides } = this.#views[name];
        // All heads of the sample: they lie among each other.
        const length = strides[0]!;
        const got = await backend.read(buffer, dtype, outer * length, length);
        const first = this.#views[name].offset + head % heads * strides[1]!;
        const largest = want[name].reduce((most, x) => Math.max(most, Math.abs(x)), 0);
        for (let row = 0; row < tokens; row++) {
          for (let d = 0; d < depth; d++) {
            const error = Math.abs(
              got[first + row * strides[2]! + d]! - want[name][row * depth + d]!,
            );
            worst = Number.isNaN(error) ? Infinity : Math.max(worst, error / largest);
          }
        }
      }
      // Not to be taken for the next one's.
      for (const name of ["out", "dq"] as const) {
        const { buffer, dtype, strides } = this.#views[name];
        const bytes = new Uint8Array(strides[0]! * DTYPE_BYTES[dtype]).fill(0xff);
        backend.write(buffer, outer * bytes.length, bytes);
      }
    }
    return worst;
  }

  #want(head: number): Record<(typeof RESULTS)[number], Float64Array> {
    let want = this.#wanted.get(head);
    if (!want) this.#wanted.set(head, want = this.#reference(head));
    return want;
  }

  #reference(head: number): Record<(typeof RESULTS)[number], Float64Array> {
    const { heads, tokens, depth } = this.model;
    const scale = this.#scale;
    const load = (name: "q" | "k" | "v" | "g"): Float64Array => {
      const { offset, strides } = this.#views[name];
      const data = name === "g" ? this.#g : this.#qkv;
      const first = offset + Math.floor(head / heads) * strides[0]! + head % heads * strides[1]!;
      return Float64Array.from({ length: tokens * depth }, (_, i) => {
        return data[first + Math.floor(i / depth) * strides[2]! + i % depth]!;
      });
    };
    const [q, k, v, g] = [load("q"), load("k"), load("v"), load("g")];
    const dot = (a: Float64Array, i: number, b: Float64Array, j: number): number => {
      let sum = 0;
      for (let d = 0; d < depth; d++) sum += a[i * depth + d]! * b[j * depth + d]!;
      return sum;
    };
    const zeros = () => new Float64Array(tokens * depth);
    const [out, dq, dk, dv] = [zeros(), zeros(), zeros(), zeros()];
    const add = (to: Float64Array, i: number, x: number, from: Float64Array, j: number) => {
      for (let d = 0; d < depth; d++) to[i * depth + d]! += x * from[j * depth + d]!;
    };
    for (let i = 0; i < tokens; i++) {
      const scores = Float64Array.from({ length: tokens }, (_, j) => scale * dot(q, i, k, j));
      const largest = Math.max(...scores);
      const exps = scores.map((s) => Math.exp(s - largest));
      const total = exps.reduce((a, b) => a + b);
      const p = exps.map((e) => e / total);
      p.forEach((x, j) => add(out, i, x, v, j));
      const delta = dot(out, i, g, i);
      for (let j = 0; j < tokens; j++) {
        const ds = p[j]! * (dot(g, i, v, j) - delta) * scale;
        add(dq, i, ds, k, j);
        add(dk, j, ds, q, i);
        add(dv, j, p[j]!, g, i);
      }
    }
    return { out, dq, dk, dv };
  }

  [Symbol.dispose](): void {
    const buffers = new Set(Object.values(this.#views).map(({ buffer }) => buffer));
    for (const buffer of [...buffers, this.#stats.buffer]) this.backend.free(buffer);
  }
}
