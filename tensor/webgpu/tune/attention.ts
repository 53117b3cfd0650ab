/** Attention and its gradients, to be measured however their kernels are written. */
import type { View } from "../../view.ts";
import { DTYPE_BYTES } from "../../dtype.ts";
import type { WebGpuBackend } from "../backend.ts";
import { attention } from "../kernels/attention.ts";
import { attentionGrad, mayShare } from "../kernels/attention_grad.ts";
import {
  ATTENTION_CODES,
  attentionClass,
  type AttentionCode,
  type AttentionPlan,
  codeKey,
  usualAttention,
} from "../kernels/attention_plan.ts";
import { attentionTile } from "../kernels/matrix_attention_plan.ts";
import { MATRIX_UNITS } from "./products.ts";
import { FilledArray, type FloatType, poison, viewOf } from "./arrays.ts";
import type { Variant } from "./choose.ts";

/** Heads of a layer of attention. */
export interface Heads {
  readonly dtype: FloatType;
  readonly batch: number;
  readonly heads: number;
  readonly tokens: number;
  readonly depth: number;
}

/** Kernels that have variants of their own. */
export const ATTENTION_KERNELS = ["forward", "queries", "keys"] as const;

/** Largest difference of two variants, over the largest element. */
const LARGEST_DIFFERENCE = { f32: 1e-4, f16: 2e-2 } as const;

type ResultName = "out" | "dq" | "dk" | "dv";

/** Results that a kernel writes. */
const RESULTS = { forward: ["out"], queries: ["dq"], keys: ["dk", "dv"] } as const;

/** Queries, keys and values beside each other, as a layer gives them, and what becomes of them. */
export class AttentionArrays implements Disposable {
  readonly usual: AttentionPlan;
  readonly shapeClass: string;
  readonly #views: Readonly<Record<"q" | "k" | "v" | "g" | "out" | "dq" | "dk" | "dv", View>>;
  readonly #stats: View;
  readonly #arrays: readonly FilledArray[];
  /** What the usual variants compute of the first and the last sample, by result. */
  readonly #wanted = new Map<string, Float64Array>();

  constructor(readonly backend: WebGpuBackend, readonly of: Heads) {
    const { dtype, batch, heads, tokens, depth } = of;
    const width = heads * depth;
    const array = (parts: number, seed: number, type: FloatType = dtype): FilledArray =>
      new FilledArray(backend, type, batch * tokens * parts * width, seed);
    const view = ({ buffer }: FilledArray, parts: number, part: number): View =>
      viewOf(
        buffer,
        dtype,
        [batch, heads, tokens, depth],
        [tokens * parts * width, depth, parts * width, 1],
        part * width,
      );
    const [qkv, grads, g, out] = [array(3, 1), array(3, 2), array(1, 3), array(1, 4)];
    const stats = new FilledArray(backend, "f32", batch * heads * tokens * 2, 5);
    this.#arrays = [qkv, grads, g, out, stats];
    this.#views = {
      q: view(qkv, 3, 0),
      k: view(qkv, 3, 1),
      v: view(qkv, 3, 2),
      g: view(g, 1, 0),
      out: view(out, 1, 0),
      dq: view(grads, 3, 0),
      dk: view(grads, 3, 1),
      dv: view(grads, 3, 2),
    };
    const shape = [batch, heads, tokens, 2];
    const strides = [heads * tokens * 2, tokens * 2, 2, 1];
    this.#stats = viewOf(stats.buffer, "f32", shape, strides);
    this.usual = usualAttention(backend.runtime.traits);
    this.shapeClass = AttentionArrays.classOf(dtype, tokens, depth);
    this.#forward(this.usual.forward, "tune");
  }

  /** Whether a kernel runs on matrix units unless it is written in some way. */
  #isOnMatrices(kernel: (typeof ATTENTION_KERNELS)[number]): boolean {
    const { attentionMatrices: unit, limits, traits } = this.backend.runtime;
    const { dtype, depth } = this.of;
    return unit !== null && dtype === "f16" &&
      attentionTile(unit, depth, kernel, limits, traits) !== null;
  }

  /** The class of shapes of heads of `depth`. */
  static classOf(dtype: FloatType, tokens: number, depth: number): string {
    return attentionClass({ dtype, depth, queries: tokens, keys: tokens });
  }

  #forward(code: AttentionCode | null, op: string): void {
    const { q, k, v, out } = this.#views;
    const scale = this.of.depth ** -0.5;
    attention(this.backend.runtime, { q, k, v, scale, out, stats: this.#stats }, op, code);
  }

  /** Launches the kernel, by null on matrix units, and of gradients the other one as usual. */
  launch(
    kernel: (typeof ATTENTION_KERNELS)[number],
    code: AttentionCode | null,
    op: string,
  ): void {
    if (kernel === "forward") return this.#forward(code, op);
    const usual = (other: "queries" | "keys") =>
      this.#isOnMatrices(other) ? null : this.usual[other];
    this.#gradients({ queries: usual("queries"), keys: usual("keys"), [kernel]: code }, op);
  }

  #gradients(plan: Parameters<typeof attentionGrad>[3], op: string): void {
    const { q, k, v, g, out, dq, dk, dv } = this.#views;
    const args = { q, k, v, scale: this.of.depth ** -0.5, out, stats: this.#stats };
    attentionGrad(this.backend.runtime, { ...args, g, dq, dk, dv }, op, plan);
  }

  /** Gradients in a launch that they share, as is usual, or apart; none where there is no choice. */
  sharing(plan: AttentionPlan): Variant<boolean>[] {
    if (this.#isOnMatrices("queries") || this.#isOnMatrices("keys")) return [];
    if (!mayShare(this.backend.runtime, this.of.depth)) return [];
    return [false, true].map((apart) => {
      const launch = (op: string): void => this.#gradients({ ...plan, apart }, op);
      return {
        name: apart ? "two launches" : "one launch",
        plan: apart,
        launch,
        isRight: () => this.#hasRight([...RESULTS.queries, ...RESULTS.keys], () => launch("check")),
      };
    });
  }

  /** Every way to write a kernel, the usual one first. */
  variants(kernel: (typeof ATTENTION_KERNELS)[number]): Variant<AttentionCode>[] {
    const usual = this.usual[kernel];
    const others = kernel === "forward"
      ? [...ATTENTION_CODES, ...ATTENTION_CODES.map((code) => ({ ...code, kept: true }))]
      : ATTENTION_CODES;
    const codes = [usual, ...others.filter((code) => codeKey(code) !== codeKey(usual))];
    const isOnMatrices = this.#isOnMatrices(kernel);
    const variants = codes.map((code): Variant<AttentionCode> => ({
      name: codeKey(code),
      plan: isOnMatrices ? { ...code, overMatrices: true } : code,
      launch: (op) => this.launch(kernel, code, op),
      isRight: () => this.#isRight(kernel, code),
    }));
    if (!isOnMatrices) return variants;
    return [
      {
        name: MATRIX_UNITS,
        plan: usual,
        launch: (op) => this.launch(kernel, null, op),
        isRight: () => this.#isRight(kernel, null),
      },
      ...variants,
    ];
  }

  #isRight(
    kernel: (typeof ATTENTION_KERNELS)[number],
    code: AttentionCode | null,
  ): Promise<boolean> {
    return this.#hasRight(RESULTS[kernel], () => this.launch(kernel, code, "check"));
  }

  /** Whether the first and the last sample's results are the usual ones, give or take rounding. */
  async #hasRight(names: readonly ResultName[], launch: () => void): Promise<boolean> {
    const { dtype } = this.of;
    for (const [name, got] of await this.#compute(names, launch)) {
      const want = this.#wanted.get(name);
      if (want === undefined) {
        if (!got.every(Number.isFinite)) return false;
        this.#wanted.set(name, got);
        continue;
      }
      const largest = want.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
      const isClose = (x: number, i: number): boolean =>
        Math.abs(x - want[i]!) <= LARGEST_DIFFERENCE[dtype] * largest;
      if (!got.every(isClose)) return false;
    }
    return true;
  }

  /** Runs the kernel where NaN was; gives its results of the first and the last sample. */
  compute(
    kernel: (typeof ATTENTION_KERNELS)[number],
    code: AttentionCode | null,
  ): Promise<[name: string, result: Float64Array][]> {
    return this.#compute(RESULTS[kernel], () => this.launch(kernel, code, "check"));
  }

  async #compute(
    names: readonly ResultName[],
    launch: () => void,
  ): Promise<[name: string, result: Float64Array][]> {
    const { backend, of: { dtype } } = this;
    for (const name of names) {
      const { buffer, strides } = this.#views[name];
      poison(backend, buffer, strides[0]! * DTYPE_BYTES[dtype]);
    }
    launch();
    const results: [string, Float64Array][] = [];
    for (const name of names) results.push([name, await this.#ends(name)]);
    return results;
  }

  /** A result of the first and the last sample. */
  async #ends(name: ResultName): Promise<Float64Array> {
    const { backend, of: { batch, heads, tokens, depth } } = this;
    const { buffer, dtype, strides, offset } = this.#views[name];
    const length = strides[0]!;
    const samples = await Promise.all(
      [0, batch - 1].map((sample) => backend.read(buffer, dtype, sample * length, length)),
    );
    const width = heads * depth;
    return Float64Array.from({ length: 2 * tokens * width }, (_, i) => {
      const [sample, token] = [Math.floor(i / tokens / width), Math.floor(i / width) % tokens];
      return samples[sample]![offset + token * strides[2]! + i % width]!;
    });
  }

  [Symbol.dispose](): void {
    for (const array of this.#arrays) array[Symbol.dispose]();
  }
}
