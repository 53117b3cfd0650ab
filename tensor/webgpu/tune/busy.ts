/** Work that only keeps a GPU's multipliers busy, to learn of them by how long it takes. */
import type { WebGpuBackend } from "../backend.ts";
import { matmul } from "../kernels/matmul.ts";
import { codeOf, TILES } from "../kernels/product_plan.ts";
import { FilledArray, viewOf } from "./arrays.ts";
import type { Launch } from "./turns.ts";

/** The tile of its products. */
export const BUSY_TILE = "large";

/** Products whose rows are all one row, so that memory has no say in how long they take. */
export class BusyProducts implements Disposable {
  readonly #left: FilledArray;
  readonly #right: FilledArray;
  readonly #result: FilledArray;

  /** Of as many workgroups and steps of k at most. */
  constructor(readonly backend: WebGpuBackend, mostGroups: number, deepest: number) {
    const { rows, columns } = TILES[BUSY_TILE];
    this.#left = new FilledArray(backend, "f32", deepest, 1);
    this.#right = new FilledArray(backend, "f32", columns * deepest, 2);
    this.#result = new FilledArray(backend, "f32", mostGroups * rows * columns, 3);
  }

  /** A product of so many workgroups and steps of k. */
  product(groups: number, k: number): Launch {
    const { runtime } = this.backend;
    const { rows, columns } = TILES[BUSY_TILE];
    const m = groups * rows;
    const args = {
      a: viewOf(this.#left.buffer, "f32", [1, 1, m, k], [0, 0, 0, 1]),
      b: viewOf(this.#right.buffer, "f32", [1, 1, k, columns], [0, 0, 1, k]),
      out: viewOf(this.#result.buffer, "f32", [1, 1, m, columns], [0, 0, columns, 1]),
      bias: null,
      activation: "none",
      pre: null,
      accumulate: false,
    } as const;
    const plan = { tile: BUSY_TILE, splits: 1, code: codeOf(BUSY_TILE, runtime.traits) } as const;
    return (op) => matmul(runtime, args, op, { plan });
  }

  [Symbol.dispose](): void {
    for (const array of [this.#left, this.#right, this.#result]) array[Symbol.dispose]();
  }
}
