/**
 * What steps were like, kept on the device until it is asked for: reading a number back every step
 * would make the device wait for the host.
 */
import { add, concat, detach, reshape } from "@dit/core/autograd";
import {
  evaluateInto,
  type Formula,
  outsideScopes,
  scope,
  type Tensor,
  zeros,
} from "@dit/core/tensor";
import { ALONE, type World } from "../distributed/world.ts";

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

/** Numbers that are kept side by side, so that keeping them takes no block that a step could use. */
const PAGE = 256;
const AS_THEY_ARE: Formula = { name: "records", build: (...numbers) => numbers };

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

/**
 * Records of steps since they were last taken. Where ranks share batches, each has its share of what
 * is added up, and what is taken is that of all: then all take it together.
 */
export class StepRecords implements Disposable {
  readonly #world: World;
  #held: Held[] = [];
  /** Sums of the step under way. */
  #sums = new Map<string, Tensor>();
  /** Where numbers are kept until they are taken, and how many are there. */
  #page: Tensor | null = null;
  #filled = 0;
  #known: PendingFeedback[] = [];
  #feedback: { timesteps: readonly number[]; losses: Tensor }[] = [];
  /** How much of `#feedback` is of whole steps. */
  #whole = 0;

  /** @param world The ranks that share batches. */
  constructor(world: World = ALONE) {
    this.#world = world;
  }

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
    const values = this.#keep(new Map([...this.#sums, ["gradNorm", norm]]));
    this.#held.push({ step, lr, values });
    for (const t of this.#sums.values()) t.dispose();
    this.#sums = new Map();
    this.#whole = this.#feedback.length;
  }

  /** Copies of numbers that a step computed. */
  #keep(values: ReadonlyMap<string, Tensor>): ReadonlyMap<string, Tensor> {
    const numbers = [...values.values()];
    if (!this.#page || this.#filled + numbers.length > PAGE) {
      this.#page?.dispose();
      this.#page = outsideScopes(() => zeros([PAGE], { device: numbers[0]!.device }));
      this.#filled = 0;
    }
    const page = this.#page;
    const places = outsideScopes(() => numbers.map(() => page.as([], [], this.#filled++)));
    evaluateInto("records", AS_THEY_ARE, numbers, places);
    return new Map([...values.keys()].map((name, i) => [name, places[i]!]));
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
    const numbers = await readAll(held.flatMap(({ values }) => [...values.values()]));
    await this.#addUp(held, numbers);
    const rest = numbers.values();
    return held.map(({ step, lr, values }): StepRecord => {
      const measured = Array.from(values.keys(), (name) => [name, rest.next().value!]);
      return { step, lr, ...Object.fromEntries(measured) };
    });
  }

  /** Makes shares the sums over all ranks, which the norm is already: it is of reduced gradients. */
  async #addUp(held: readonly Held[], numbers: Float64Array): Promise<void> {
    if (this.#world.size === 1) return;
    const names = held.flatMap(({ values }) => [...values.keys()]);
    const norms = numbers.filter((_, i) => names[i] === "gradNorm");
    await this.#world.allReduce(numbers);
    let next = 0;
    names.forEach((name, i) => name === "gradNorm" && (numbers[i] = norms[next++]!));
  }

  /** Takes the losses (of all ranks) that the timestep sampler has not been given. Waits for the device. */
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
    const losses = await readAll(waiting.map(({ losses }) => losses));
    const timesteps = Float64Array.from(waiting.flatMap(({ timesteps }) => timesteps));
    const [allTimesteps, allLosses] = [await this.#gather(timesteps), await this.#gather(losses)];
    let at = 0;
    for (const { timesteps: { length } } of waiting) {
      const [begin, end] = [at, at += length];
      const ofPart = (all: Float64Array[]) => all.flatMap((its) => [...its.subarray(begin, end)]);
      this.#known.push({ timesteps: ofPart(allTimesteps), losses: ofPart(allLosses) });
    }
    return this.#known;
  }

  /** The numbers of every rank, by rank. */
  async #gather(numbers: Float64Array<ArrayBuffer>): Promise<Float64Array[]> {
    const all = await this.#world.allGather(new Uint8Array(numbers.buffer));
    return all.map((bytes) => new Float64Array(bytes.slice().buffer));
  }

  /** Puts back what a checkpoint kept. */
  putFeedback(feedback: readonly PendingFeedback[]): void {
    this.#known = [...feedback];
  }

  /** Frees what was not taken. */
  dispose(): void {
    for (const { values } of this.#held) for (const t of values.values()) t.dispose();
    this.abandonStep();
    this.#page?.dispose();
    this.#page = null;
    for (const { losses } of this.#feedback) losses.dispose();
    [this.#held, this.#feedback, this.#whole] = [[], [], 0];
  }

  /** Frees what was not taken, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** The elements of all of `tensors`, which are freed. */
async function readAll(tensors: readonly Tensor[]): Promise<Float64Array<ArrayBuffer>> {
  using flat = joined(tensors);
  return Float64Array.from(await flat.data());
}

function joined(tensors: readonly Tensor[]): Tensor {
  using s = scope("records");
  const flat = concat(tensors.map((t) => reshape(t, [-1])));
  for (const t of tensors) t.dispose();
  return s.keep(flat);
}
