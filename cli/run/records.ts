/**
 * What steps were like, kept on the device until it is asked for: reading a number back every step
 * would make the device wait for the host.
 */
import { add, concat, detach, reshape } from "@dit/core/autograd";
import { outsideScopes, scope, type Tensor } from "@dit/core/tensor";

/** One step. */
export interface StepRecord {
  /** Counted from 1. */
  readonly step: number;
  /** Mean over the batch. */
  readonly loss: number;
  /** Norm of all gradients, before they were clipped. */
  readonly gradNorm: number;
  /** Learning rate. */
  readonly lr: number;
  /** What else the trainee measures: means over the batch. */
  readonly [name: string]: number;
}

/** The scaling of the loss, in mixed precision. */
export interface Scaled {
  readonly scale: number;
  /** Steps left out so far because gradients overflowed. */
  readonly skipped: number;
}

/** Losses that a timestep sampler has not been given. */
export interface PendingFeedback {
  /** One a sample. */
  readonly timesteps: readonly number[];
  /** One a sample. */
  readonly losses: readonly number[];
}

interface Held {
  readonly step: number;
  readonly lr: number;
  /** By name: `loss`, `gradNorm`, and what else the trainee measures. */
  readonly values: ReadonlyMap<string, Tensor>;
}

/** Below this scale of the loss gradients overflow for another reason than the scale. */
const LEAST_SCALE = 2 ** -8;

/**
 * Splits records into those of finite steps and the first that is not finite, unless the smaller
 * scale of the loss that follows an overflow mends it.
 *
 * @param scale Of the loss; null where there is no scaling.
 */
export function sortOut(
  records: readonly StepRecord[],
  scale: number | null,
): { readonly finite: StepRecord[]; readonly wrong: StepRecord | undefined } {
  const isFinite = (r: StepRecord) => Number.isFinite(r.loss) && Number.isFinite(r.gradNorm);
  const mended = scale !== null && scale >= LEAST_SCALE;
  const wrong = mended ? undefined : records.find((r) => !isFinite(r));
  return { finite: records.filter(isFinite), wrong };
}

/** A view of what a step computed that outlives the step's scope. */
const own = (t: Tensor): Tensor => outsideScopes(() => t.as(t.shape, t.strides));

/** Records of steps since they were last taken. */
export class StepRecords implements Disposable {
  #held: Held[] = [];
  /** Sums of the step under way. */
  #sums = new Map<string, Tensor>();
  #known: PendingFeedback[] = [];
  #feedback: { timesteps: readonly number[]; losses: Tensor }[] = [];
  /** How much of `#feedback` is of whole steps. */
  #whole = 0;

  /** Adds a part's share of the loss of the step under way, and of what else is measured. */
  addLoss(loss: Tensor, others: Readonly<Record<string, Tensor>> = {}): void {
    for (const [name, value] of Object.entries({ loss, ...others })) {
      const before = this.#sums.get(name);
      this.#sums.set(name, own(before ? add(before, detach(value)) : detach(value)));
      before?.dispose();
    }
  }

  /** Keeps the loss of each sample for the timestep sampler. */
  addFeedback(timesteps: readonly number[], losses: Tensor): void {
    this.#feedback.push({ timesteps, losses: own(losses) });
  }

  /** Ends a step. */
  endStep(step: number, norm: Tensor, lr: number): void {
    this.#held.push({ step, lr, values: this.#sums.set("gradNorm", own(norm)) });
    this.#sums = new Map();
    this.#whole = this.#feedback.length;
  }

  /** Forgets what there is of a step that was not taken to its end. */
  abandonStep(): void {
    for (const t of this.#sums.values()) t.dispose();
    for (const { losses } of this.#feedback.splice(this.#whole)) losses.dispose();
    this.#sums = new Map();
  }

  /** Steps that were not taken yet. */
  get length(): number {
    return this.#held.length;
  }

  /** The steps since the last time, in one read. Waits for the device. */
  async take(): Promise<StepRecord[]> {
    const held = this.#held;
    if (held.length === 0) return [];
    this.#held = [];
    const numbers = (await readAll(held.flatMap(({ values }) => [...values.values()]))).values();
    return held.map(({ step, lr, values }): StepRecord => {
      const measured = Array.from(values.keys(), (name) => [name, numbers.next().value!]);
      return { step, lr, ...Object.fromEntries(measured) };
    });
  }

  /** Takes the losses that the timestep sampler has not been given. Waits for the device. */
  async takeFeedback(): Promise<PendingFeedback[]> {
    const all = await this.peekFeedback();
    this.#known = [];
    return all;
  }

  /** The losses that the timestep sampler has not been given, for a checkpoint. Waits for the device. */
  async peekFeedback(): Promise<PendingFeedback[]> {
    const waiting = this.#feedback;
    [this.#feedback, this.#whole] = [[], 0];
    if (waiting.length === 0) return this.#known;
    const values = await readAll(waiting.map(({ losses }) => losses));
    let at = 0;
    for (const { timesteps } of waiting) {
      const losses = values.slice(at, at += timesteps.length);
      this.#known.push({ timesteps, losses });
    }
    return this.#known;
  }

  /** Puts back what a checkpoint kept. */
  putFeedback(feedback: readonly PendingFeedback[]): void {
    this.#known = [...feedback];
  }

  /** Frees what was not taken. */
  dispose(): void {
    for (const { values } of this.#held) for (const t of values.values()) t.dispose();
    this.abandonStep();
    for (const { losses } of this.#feedback) losses.dispose();
    [this.#held, this.#feedback, this.#whole] = [[], [], 0];
  }

  /** Frees what was not taken, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** The elements of all of `tensors`, which are freed. */
async function readAll(tensors: readonly Tensor[]): Promise<number[]> {
  using _ = scope("records");
  const flat = concat(tensors.map((t) => reshape(t, [-1])));
  for (const t of tensors) t.dispose();
  return Array.from(await flat.data());
}
