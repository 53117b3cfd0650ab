/**
 * Timesteps of a batch, and the lookup of schedule values by them. Schedules stay in float64 on the
 * host; a value becomes float32 only after it was looked up.
 */
import {
  DTypeError,
  full,
  IndexError,
  ShapeError,
  shapeText,
  Tensor,
  tensor,
} from "../tensor/mod.ts";
import { cast, embedding, expand, reshape, type TensorLike } from "../autograd/mod.ts";

/**
 * Timesteps of a batch, 0 (the least noise) to T - 1: one for all samples, one a sample, an i32
 * tensor [N], or what was made of these.
 */
export type Timesteps = number | ArrayLike<number> | Tensor | BatchTimesteps;

/** A value for each timestep. */
export type TimestepTable = ArrayLike<number> | ((t: number) => number);

/** Checked timesteps of a batch. */
export class BatchTimesteps {
  /** One a sample, where the host knows them. */
  readonly host: readonly number[] | undefined;
  /** The one that all samples are at, where the host knows that. */
  readonly uniform: number | undefined;
  readonly #limit: number;
  readonly #device: Tensor | undefined;

  /**
   * Checks timesteps.
   *
   * @param op For messages.
   * @param batch Number of samples.
   * @param limit Number of timesteps, T.
   * @throws {IndexError} where a timestep is not a whole number in [0, T).
   * @throws {ShapeError} where there are not as many as samples.
   * @throws {DTypeError} where a tensor does not hold integers.
   */
  constructor(op: string, t: number | ArrayLike<number> | Tensor, batch: number, limit: number) {
    this.#limit = limit;
    if (t instanceof Tensor) {
      if (t.dtype !== "i32" && t.dtype !== "u32") {
        throw new DTypeError(`${op}: expected timesteps of i32 but got ${t.dtype}`);
      }
      checkCount(op, t.shape, batch);
      this.#device = t;
      const range = t.storage.range;
      if (range && range.min === range.max) t = range.min;
    }
    if (t instanceof Tensor) return;
    if (typeof t !== "number") checkCount(op, [t.length], batch);
    this.host = typeof t === "number" ? new Array<number>(batch).fill(t) : Array.from(t);
    const wrong = this.host.find((s) => !Number.isInteger(s) || s < 0 || s >= limit);
    if (wrong !== undefined) {
      throw new IndexError(`${op}: expected timesteps in [0, ${limit}) but got ${wrong}`);
    }
    if (this.host.every((s) => s === this.host![0])) this.uniform = this.host[0];
  }

  /** Whether some sample may be at timestep `t`. */
  mayHold(t: number): boolean {
    return this.host?.includes(t) ?? true;
  }

  /**
   * Values of `schedule` for each sample, to compute with tensors like `x` [N, ...]: a number where
   * all samples are at one timestep, else a tensor [N, 1, ...].
   *
   * @param rank Dimensions of that tensor.
   */
  gather(schedule: TimestepTable, x: Tensor, rank: number = x.rank): TensorLike {
    const at = (t: number): number => {
      return typeof schedule === "function" ? schedule(t) : schedule[t]!;
    };
    if (this.uniform !== undefined) return at(this.uniform);
    const shape = [x.shape[0]!, ...new Array<number>(rank - 1).fill(1)];
    if (this.host) return tensor(this.host.map(at), shape, { device: x.device });
    const values = Array.from({ length: this.#limit }, (_, t) => at(t));
    const table = tensor(values, [this.#limit, 1], { device: x.device });
    return reshape(embedding(table, this.#device!), shape);
  }

  /** Values of `schedule` for each sample, repeated to the shape of `x` without copying. */
  expand(schedule: TimestepTable, x: Tensor): Tensor {
    const values = this.gather(schedule, x);
    const { device } = x;
    return expand(values instanceof Tensor ? values : full([], values, { device }), x.shape);
  }

  /** The timesteps as a tensor i32 [N] beside `x`, each replaced by its entry of `map`. */
  mapped(map: readonly number[], x: Tensor): Tensor {
    const { device } = x;
    if (this.host) {
      return tensor(this.host.map((t) => map[t]!), [this.host.length], { dtype: "i32", device });
    }
    if (map.every((to, t) => to === t)) return this.#device!;
    return cast(this.gather(map, x, 1) as Tensor, "i32");
  }
}

function checkCount(op: string, shape: readonly number[], batch: number): void {
  if (shape.length !== 1 || shape[0] !== batch) {
    throw new ShapeError(
      `${op}: expected timesteps of shape [${batch}], one a sample, but got ${shapeText(shape)}`,
    );
  }
}
