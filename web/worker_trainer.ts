/** Trains in the visitor's own browser, in a worker of its own. */
import type { Trainer, Training, TrainingEvent, TrainingInfo, TrainingRequest } from "./trainer.ts";
import type { TrainingPlan } from "./training_data.ts";
import type { BrowserDevice } from "./worker_engine.ts";

/** What the page tells its worker. */
export type ToTrainingWorker =
  | {
    readonly kind: "train";
    /** `training.json`, as it was read. */
    readonly plan: unknown;
    /** Address of the images. */
    readonly images: string;
    readonly request: TrainingRequest;
    readonly device: BrowserDevice;
  }
  | { readonly kind: "stop" };

/** What the worker tells the page. */
export type FromTrainingWorker =
  | { readonly kind: "event"; readonly event: TrainingEvent }
  | { readonly kind: "failed"; readonly message: string };

/** Trains in a worker of the page. */
export class WorkerTrainer implements Trainer {
  readonly #base: URL;
  readonly #plan: URL;
  readonly #device: BrowserDevice;
  #read: Promise<TrainingPlan> | null = null;

  /**
   * @param base The address of the page, such as `document.baseURI`.
   * @param plan Where `training.json` is, as `Site.trainingData` has it.
   */
  constructor(base: string | URL, plan: string, device: BrowserDevice = "auto") {
    this.#base = new URL("./", base);
    this.#plan = new URL(plan, this.#base);
    this.#device = device;
  }

  /** What is trained, and with which settings as a rule. */
  async info(): Promise<TrainingInfo> {
    const { title, settings } = await this.#readPlan();
    const { steps, batchSize, lr: learningRate, seed, sampleEvery } = settings;
    return { title, usual: { steps, batchSize, learningRate, seed, sampleEvery } };
  }

  /** Trains a model; several at once share the machine. */
  train(request: TrainingRequest, onEvent: (event: TrainingEvent) => void): Training {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let worker: Worker | null = null;
    let [isStopped, isOver] = [false, false];
    const end = (error?: Error): void => {
      if (isOver) return;
      isOver = true;
      worker?.terminate();
      if (error === undefined) resolve();
      else reject(error);
    };
    const start = async (): Promise<void> => {
      const plan = await this.#readPlan();
      if (isOver) return;
      worker = new Worker(new URL("training_worker.js", this.#base), { type: "module" });
      worker.onmessage = ({ data }: MessageEvent<FromTrainingWorker>) => {
        if (isOver) return;
        if (data.kind === "failed") return end(new Error(data.message));
        onEvent(data.event);
        if (data.event.kind === "done") end();
      };
      worker.onerror = (event) => {
        event.preventDefault();
        const why = event.message || "its file could not be loaded";
        end(new Error(`the worker that trains in this browser has ended: ${why}`));
      };
      const images = new URL(plan.data, this.#plan).href;
      post(worker, { kind: "train", plan, images, request, device: this.#device });
      if (isStopped) post(worker, { kind: "stop" });
    };
    start().catch(end);
    return {
      finished: promise,
      stop() {
        isStopped = true;
        if (worker !== null) post(worker, { kind: "stop" });
      },
      cancel: () => end(new Error("the training was cancelled")),
    };
  }

  async #readPlan(): Promise<TrainingPlan> {
    this.#read ??= fetchPlan(this.#plan);
    try {
      return await this.#read;
    } catch (error) {
      this.#read = null; // it may go better the next time
      throw error;
    }
  }
}

function post(worker: Worker, message: ToTrainingWorker): void {
  worker.postMessage(message);
}

async function fetchPlan(url: URL): Promise<TrainingPlan> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: the page's host answered ${response.status}`);
  return await response.json();
}
