/**
 * What steps were like, kept on the device until somebody asks: reading a number back every step
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
  /** Divergence of an autoencoder's latents, where one is trained. */
  readonly kl?: number;
  /** Norm of all gradients, before they were clipped. */
  readonly gradNorm: number;
  /** Learning rate. */
  readonly lr: number;
}

/** Losses that a timestep sampler has not been told of. */
export interface PendingFeedback {
  /** One a sample. */
  readonly timesteps: readonly number[];
  /** One a sample. */
  readonly losses: readonly number[];
}

interface Held {
  readonly step: number;
  readonly lr: number;
  readonly loss: Tensor;
  readonly kl: Tensor | null;
  readonly norm: Tensor;
}

/** Below this scale of the loss gradients overflow for another reason than the scale. */
const LEAST_SCALE = 2 ** -8;

/**
 * Tells steps with a loss and a gradient from those without: the first one that is not finite, where
 * that is not mended by the smaller scale of the loss that follows it.
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

/** A handle of our own to what a step computed. */
const own = (t: Tensor): Tensor => outsideScopes(() => t.as(t.shape, t.strides));

/** Records of steps since they were last taken. */
export class StepRecords implements Disposable {
  #held: Held[] = [];
  #loss: Tensor | null = null;
  #kl: Tensor | null = null;
  #known: PendingFeedback[] = [];
  #feedback: { timesteps: readonly number[]; losses: Tensor }[] = [];

  /** Adds a part's share of the loss of the step under way, and of its divergence. */
  addLoss(loss: Tensor, kl?: Tensor): void {
    this.#loss = addTo(this.#loss, loss);
    if (kl) this.#kl = addTo(this.#kl, kl);
  }

  /** Keeps the loss of each sample for the timestep sampler. */
  addFeedback(timesteps: readonly number[], losses: Tensor): void {
    this.#feedback.push({ timesteps, losses: own(losses) });
  }

  /** Ends a step. */
  endStep(step: number, norm: Tensor, lr: number): void {
    this.#held.push({ step, lr, loss: this.#loss!, kl: this.#kl, norm: own(norm) });
    [this.#loss, this.#kl] = [null, null];
  }

  /** Steps that nobody has asked for yet. */
  get length(): number {
    return this.#held.length;
  }

  /** The steps since the last time, in one read. Waits for the device. */
  async take(): Promise<StepRecord[]> {
    const held = this.#held;
    if (held.length === 0) return [];
    this.#held = [];
    const values = (await readAll(held.flatMap(tensorsOf))).values();
    const next = () => values.next().value!;
    return held.map(({ step, lr, kl }) => {
      return { step, lr, loss: next(), gradNorm: next(), ...(kl ? { kl: next() } : {}) };
    });
  }

  /** What the timestep sampler has not been told of; it counts as told then. */
  async takeFeedback(): Promise<PendingFeedback[]> {
    const all = await this.peekFeedback();
    this.#known = [];
    return all;
  }

  /** What the timestep sampler has not been told of. Waits for the device. */
  async peekFeedback(): Promise<PendingFeedback[]> {
    const waiting = this.#feedback;
    this.#feedback = [];
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

  /** Frees what nobody asked for. */
  dispose(): void {
    for (const t of this.#held.flatMap(tensorsOf)) t.dispose();
    for (const { losses } of this.#feedback) losses.dispose();
    this.#loss?.dispose();
    this.#kl?.dispose();
    [this.#held, this.#feedback, this.#loss, this.#kl] = [[], [], null, null];
  }

  /** Frees what nobody asked for, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

function tensorsOf({ loss, norm, kl }: Held): Tensor[] {
  return kl ? [loss, norm, kl] : [loss, norm];
}

/** A sum with one more value in it; the one before is freed. */
function addTo(before: Tensor | null, value: Tensor): Tensor {
  const sum = own(before ? add(before, detach(value)) : detach(value));
  before?.dispose();
  return sum;
}

/** The elements of all of `tensors`, which are freed. */
async function readAll(tensors: readonly Tensor[]): Promise<number[]> {
  using _ = scope("records");
  const flat = concat(tensors.map((t) => reshape(t, [-1])));
  for (const t of tensors) t.dispose();
  return Array.from(await flat.data());
}
