/** Training steps that ranks share, and where their time goes: what every rank runs. */
import type { DiTTrainee } from "../../cli/commands/train/dit_trainee.ts";
import {
  ALONE,
  type ReducibleArray,
  type Reduction,
  type World,
} from "../../cli/distributed/world.ts";
import { batchFor, type Job, traineeOf } from "../gpu/jobs.ts";

/**
 * How gradients go round: not at all, so that each rank computes for itself; after the backward pass;
 * or while it runs, as in `deno task train`.
 */
export type Sending = "never" | "after backward" | "during backward";

/** What to measure. */
export interface TrainingJob {
  readonly what: "training";
  readonly model: string;
  /** Of all ranks together. */
  readonly batch: number;
  readonly sending: Sending;
  readonly steps: number;
  readonly bucketBytes?: number;
  /** Other flags of `deno task train`. */
  readonly flags?: Job["flags"];
}

/** The parts of a step, in seconds. */
export interface StepParts {
  /** Forward and backward pass. */
  readonly passes: number;
  /** For gradients of other ranks, after the backward pass. */
  readonly waiting: number;
  /** AdamW, the average of the weights. */
  readonly optimizer: number;
}

/** Every step, with its parts on every rank. */
export interface TrainingResults {
  readonly steps: readonly (readonly StepParts[])[];
}

/** The world as the trainee sees it: it decides when to send, and takes note of when. */
class ObservedWorld {
  sending: Sending = "during backward";
  /** When the last bucket was given, which is when the backward pass was over. */
  given = 0;
  /** When the last bucket was back. */
  back = 0;
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  /** For the trainee. */
  readonly world = (): World => ({
    ...ALONE,
    rank: this.#world.rank,
    size: this.#world.size,
    allReduce: (values, reduction) => this.#allReduce(values, reduction),
  });

  async #allReduce(values: ReducibleArray, reduction?: Reduction): Promise<void> {
    this.given = performance.now();
    if (this.sending === "after backward") await Promise.resolve(); // which runs to its end first
    if (this.sending !== "never") await this.#world.allReduce(values, reduction);
    this.back = performance.now();
  }
}

/** Trainees that jobs come back to, by what they train. */
export class Training implements Disposable {
  readonly #world: World;
  readonly #trainees = new Map<string, { trainee: DiTTrainee; observed: ObservedWorld }>();

  /** The ranks that share the steps. */
  constructor(world: World) {
    this.#world = world;
  }

  /** Takes steps; all ranks return the same. */
  async run(job: TrainingJob): Promise<TrainingResults> {
    const world = this.#world;
    const { trainee, observed } = this.#traineeFor(job);
    const batch = batchFor(trainee, job.batch / world.size);
    observed.sending = job.sending;
    const steps: StepParts[][] = [];
    for (let i = 0; i < job.steps; i++) {
      await world.barrier();
      const start = performance.now();
      observed.given = observed.back = start;
      await trainee.takeStep(batch);
      const end = performance.now();
      const own = Float64Array.of(
        observed.given - start,
        observed.back - observed.given,
        end - observed.back,
      );
      const all = await world.allGather(new Uint8Array(own.buffer));
      steps.push(all.map((bytes) => {
        const [passes, waiting, optimizer] = new Float64Array(bytes.slice().buffer)
          .map((milliseconds) => milliseconds / 1000) as unknown as [number, number, number];
        return { passes, waiting, optimizer };
      }));
    }
    await trainee.records.take();
    return { steps };
  }

  #traineeFor({ model, batch, bucketBytes, flags }: TrainingJob) {
    const key = JSON.stringify({ model, batch, bucketBytes, flags });
    const known = this.#trainees.get(key);
    if (known) return known;
    const observed = new ObservedWorld(this.#world);
    const run = {
      model,
      batch,
      precision: "f32",
      checkpointing: false,
      ...(flags ? { flags } : {}),
    };
    const trainee = traineeOf(run as Job, { world: observed.world(), bucketBytes });
    const made = { trainee, observed };
    this.#trainees.set(key, made);
    return made;
  }

  /** Frees the trainees. */
  [Symbol.dispose](): void {
    for (const { trainee } of this.#trainees.values()) trainee[Symbol.dispose]();
  }
}
