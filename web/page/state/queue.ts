/** Drawings that wait, run and have ended. One at a time runs in each place. */
import type { Engine, ModelInfo, Picture, SampleEvent, SampleRequest } from "../../protocol.ts";
import { isAbort, messageOf } from "../base/text.ts";
import type { Parameters } from "./parameters.ts";
import { requestOf } from "./request.ts";

/** What has become of a drawing. */
export type JobState = "waiting" | "running" | "done" | "failed" | "cancelled";

/** A drawing. */
export interface Job {
  readonly id: number;
  readonly parameters: Parameters;
  readonly model: ModelInfo;
  readonly place: Engine["place"];
  readonly request: SampleRequest;
  readonly state: JobState;
  /** How many are drawn before it: those of this page, and those that the server has from others. */
  readonly ahead: number;
  /** Bytes of weights that are loaded; null where none are being loaded. */
  readonly loading: { readonly done: number; readonly total: number } | null;
  /** Steps that were taken, and how many there are. */
  readonly step: number;
  readonly steps: number;
  /** As they are after that step; none before the first. */
  readonly pictures: readonly Picture[];
  /** Set when it is done. */
  readonly seconds?: number;
  readonly device?: string;
  /** Set when it failed. */
  readonly error?: string;
}

/** The queue. */
export class DrawingQueue {
  readonly #onChange: (job: Job) => void;
  readonly #jobs = new Map<number, Job>();
  readonly #engines = new Map<number, Engine>();
  readonly #aborts = new Map<number, AbortController>();
  #last = 0;

  /** @param onChange Called with each drawing that is another one than before. */
  constructor(onChange: (job: Job) => void) {
    this.#onChange = onChange;
  }

  /** Those that have not ended, in the order in which they were asked for. */
  get open(): readonly Job[] {
    return [...this.#jobs.values()];
  }

  /** Adds a drawing. */
  add(engine: Engine, model: ModelInfo, parameters: Parameters): Job {
    const id = ++this.#last;
    const request = requestOf(parameters);
    const job: Job = {
      id,
      parameters,
      model,
      place: engine.place,
      request,
      state: "waiting",
      ahead: this.open.filter(({ place }) => place === engine.place).length,
      loading: null,
      step: 0,
      steps: request.steps,
      pictures: [],
    };
    this.#engines.set(id, engine);
    this.#change(job);
    this.#startNext(engine.place);
    return this.#jobs.get(id) ?? job;
  }

  /** Ends a drawing, whatever it is at. */
  cancel(id: number): void {
    const job = this.#jobs.get(id);
    if (job === undefined) return;
    this.#aborts.get(id)?.abort();
    this.#end({ ...job, state: "cancelled" });
  }

  #startNext(place: Engine["place"]): void {
    const here = this.open.filter((job) => job.place === place);
    if (here.some(({ state }) => state === "running")) return;
    const next = here[0];
    if (next !== undefined) void this.#run({ ...next, state: "running", ahead: 0 });
  }

  async #run(job: Job): Promise<void> {
    const abort = new AbortController();
    this.#aborts.set(job.id, abort);
    this.#change(job);
    const now = (): Job | undefined => this.#jobs.get(job.id); // undefined once it was cancelled
    try {
      await this.#engines.get(job.id)!.sample(job.request, (event) => {
        const before = now();
        if (before === undefined) return;
        const after = advanced(before, event);
        if (after.state === "done") this.#end(after);
        else this.#change(after);
      }, abort.signal);
      const left = now();
      if (left) this.#end({ ...left, state: "failed", error: "It ended without a picture." });
    } catch (error) {
      const before = now();
      if (before === undefined) return;
      this.#end(
        isAbort(error)
          ? { ...before, state: "cancelled" }
          : { ...before, state: "failed", error: messageOf(error) },
      );
    }
  }

  #change(job: Job): void {
    this.#jobs.set(job.id, job);
    this.#onChange(job);
  }

  #end(job: Job): void {
    for (const map of [this.#jobs, this.#engines, this.#aborts]) map.delete(job.id);
    this.#onChange(job);
    this.open.filter(({ place }) => place === job.place).forEach((other, ahead) => {
      if (other.state === "waiting" && other.ahead !== ahead) this.#change({ ...other, ahead });
    });
    this.#startNext(job.place);
  }
}

function advanced(job: Job, event: SampleEvent): Job {
  switch (event.kind) {
    case "queued":
      return { ...job, ahead: event.ahead };
    case "loading":
      return { ...job, ahead: 0, loading: { done: event.done, total: event.total } };
    case "step": {
      const { step, steps, pictures = job.pictures } = event;
      return { ...job, ahead: 0, loading: null, step, steps, pictures };
    }
    case "done": {
      const { pictures, seconds, device } = event;
      return { ...job, state: "done", loading: null, step: job.steps, pictures, seconds, device };
    }
  }
}
