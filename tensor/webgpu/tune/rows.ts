/** Layer norm and its gradient, to be measured with and without subgroups. */
import type { KernelArgs } from "../../kernels.ts";
import type { View } from "../../view.ts";
import { DTYPE_BYTES } from "../../dtype.ts";
import type { WebGpuBackend } from "../backend.ts";
import { layerNorm } from "../kernels/layer_norm.ts";
import { layerNormGrad } from "../kernels/layer_norm_grad.ts";
import { rowLayout, type RowPlans } from "../shader/rows.ts";
import { FilledArray, type FloatType, poison, viewOf } from "./arrays.ts";
import type { Variant } from "./choose.ts";

/** What is normalised. */
export interface NormedRows {
  readonly dtype: FloatType;
  readonly batch: number;
  readonly tokens: number;
  readonly width: number;
}

/** Threads that share a row of this width, which its reduction depends on. */
export function lanesOf(width: number, backend: WebGpuBackend): number {
  return rowLayout(width, width % 4 === 0, backend.runtime).lanes;
}

/** Rows with their scales, and what becomes of them. */
export class RowArrays implements Disposable {
  readonly #arrays: FilledArray[] = [];
  readonly #norm: KernelArgs["layerNorm"];
  readonly #grad: KernelArgs["layerNormGrad"];
  readonly lanes: number;
  /** What is computed without subgroups, of the first and the last rows. */
  #wanted: string | null = null;

  constructor(readonly backend: WebGpuBackend, readonly of: NormedRows) {
    const { dtype, batch, tokens, width } = of;
    this.lanes = lanesOf(width, backend);
    const view = (shape: readonly number[], type: FloatType = dtype): View => {
      const length = shape.reduce((a, b) => a * b);
      const array = new FilledArray(backend, type, length, this.#arrays.length + 1);
      this.#arrays.push(array);
      const strides = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
      return viewOf(array.buffer, type, shape, strides);
    };
    const rows = [batch, tokens, width];
    const [x, scale] = [view(rows), view([batch, width])];
    const stats = { mean: view([batch, tokens], "f32"), rstd: view([batch, tokens], "f32") };
    const none = { weight: null, centred: true } as const;
    this.#norm = {
      ...none,
      ...stats,
      x,
      bias: null,
      scale,
      shift: view([batch, width]),
      eps: 1e-6,
      out: view(rows),
    };
    this.#grad = {
      ...none,
      ...stats,
      x,
      g: view(rows),
      scale,
      dx: view(rows),
      dWeight: null,
      dBias: null,
      dScale: null,
      dShift: null,
    };
  }

  /** Launches both. */
  #launch(rows: RowPlans["rows"], op: string): void {
    const { runtime } = this.backend;
    const before = runtime.plans;
    runtime.plans = { ...before, rows };
    try {
      layerNorm(runtime, this.#norm, op);
      layerNormGrad(runtime, this.#grad, op);
    } finally {
      runtime.plans = before;
    }
  }

  /** Through workgroup memory, and by subgroups. */
  variants(): Variant<"subgroups" | null>[] {
    const both = [null, "subgroups"] as const;
    return both.map((plan) => {
      const rows: RowPlans["rows"] = plan === null ? {} : { [this.lanes]: plan };
      return {
        name: plan ?? "workgroup memory",
        plan,
        launch: (op) => this.#launch(rows, op),
        isRight: () => this.#isRight(rows),
      };
    });
  }

  /** Whether the first and the last rows have the bits that they have without subgroups. */
  async #isRight(rows: RowPlans["rows"]): Promise<boolean> {
    const { backend, of: { dtype, batch, tokens, width } } = this;
    const results = [this.#norm.out, this.#grad.dx];
    for (const { buffer } of results) poison(backend, buffer, width * DTYPE_BYTES[dtype]);
    this.#launch(rows, "check");
    const got = await Promise.all(
      results.flatMap(({ buffer }) =>
        [0, (batch * tokens - 1) * width].map((at) => backend.read(buffer, dtype, at, width))
      ),
    );
    const text = got.map((row) => row.join()).join("\n");
    if (text.includes("NaN")) return false;
    return text === (this.#wanted ??= text);
  }

  [Symbol.dispose](): void {
    for (const array of this.#arrays) array[Symbol.dispose]();
  }
}
