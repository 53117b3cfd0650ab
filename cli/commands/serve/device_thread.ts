/** The server's side of the thread that samples. */
import type { SampleEvent, SampleRequest } from "@dit/web";
import { FastTierError } from "../../shared/device.ts";
import {
  CONTROL,
  type WorkerJob,
  type WorkerMessage,
  type WorkerOpening,
  type WorkerSettings,
} from "./messages.ts";
import type { ServedModel } from "./models.ts";

/** Why nothing was sampled; the message is for people. */
export class SamplingError extends Error {
  static {
    this.prototype.name = "SamplingError";
  }
}

/** What visitors are told of a bug. */
export const BUG = "sampling ended by an error of the program; the server's output has it";

/** How a job is followed. */
export interface Watch {
  /** Ends it within a step. */
  readonly signal: AbortSignal;
  readonly onEvent: (event: SampleEvent) => void;
  /** Whether there is something to do with a preview. */
  readonly wantsPreview: () => boolean;
}

/** Whatever samples, one job at a time. */
export interface Sampling {
  /** What samples; null until it is open. */
  readonly device: string | null;
  /** Makes ready for a job that may come. */
  open(): void;
  /**
   * Samples; resolves after the `done` event.
   *
   * @throws {SamplingError} where that fails.
   * @throws {FastTierError} where the device gives wrong numbers in the fast tier.
   * @throws {DOMException} or whatever `signal` was aborted with.
   */
  sample(model: ServedModel, request: SampleRequest, watch: Watch): Promise<void>;
}

/**
 * A thread with a device, which opens when it is to be used: the server answers others meanwhile, even
 * where a CPU computes. One job at a time.
 */
export class DeviceThread implements Sampling, Disposable {
  readonly #settings: WorkerSettings;
  #worker: Worker | undefined;
  #device: string | null = null;
  /** Called where the thread ends by an error. */
  #onEnd: (() => void) | undefined;

  readonly #script: URL;

  /**
   * Starts nothing yet.
   *
   * @param script What the thread runs.
   */
  constructor(
    settings: WorkerSettings,
    script: URL = new URL("./worker.ts", import.meta.url),
  ) {
    [this.#settings, this.#script] = [settings, script];
  }

  /** What samples; null until it is open. */
  get device(): string | null {
    return this.#device;
  }

  /** Starts the thread, which opens its device, if it has not started. */
  open(): void {
    if (this.#worker) return;
    const worker = this.#start();
    worker.onmessage = ({ data }: MessageEvent<WorkerMessage>) => {
      if (data.kind === "device") this.#device = data.device;
    };
    const opening: WorkerOpening = { kind: "open", settings: this.#settings };
    worker.postMessage(opening);
  }

  /** Samples; resolves after the `done` event. */
  async sample(model: ServedModel, request: SampleRequest, watch: Watch): Promise<void> {
    const { signal, onEvent, wantsPreview } = watch;
    signal.throwIfAborted();
    const { id, path, flags, vae, version, info: { bytes } } = model;
    const control = new Int32Array(new SharedArrayBuffer(8));
    control[CONTROL.wantsPreview] = 1;
    const cancel = () => Atomics.store(control, CONTROL.isCancelled, 1);
    signal.addEventListener("abort", cancel);
    if (this.#device === null) onEvent({ kind: "loading", done: 0, total: bytes });
    const worker = this.#worker ?? this.#start();
    const place = { id, path, flags, vae };
    const job: WorkerJob = {
      kind: "sample",
      settings: this.#settings,
      model: place,
      version,
      bytes,
      request,
      control,
    };
    try {
      await new Promise<void>((resolve, reject) => {
        worker.onmessage = ({ data }: MessageEvent<WorkerMessage>) => {
          switch (data.kind) {
            case "device":
              this.#device = data.device;
              return;
            case "event":
              onEvent(data.event);
              if (wantsPreview()) Atomics.store(control, CONTROL.wantsPreview, 1);
              return;
            case "done":
              onEvent(data.event);
              return resolve();
            case "cancelled":
              return reject(signal.reason);
            case "failed":
              return reject(failure(data, model));
          }
        };
        this.#onEnd = () => reject(new SamplingError(BUG));
        worker.postMessage(job);
      });
    } finally {
      signal.removeEventListener("abort", cancel);
      this.#onEnd = undefined;
    }
  }

  #start(): Worker {
    const worker = new Worker(this.#script, { type: "module" });
    worker.onerror = (event) => { // which would end the server otherwise
      event.preventDefault();
      console.error(`the sampling thread ended: ${event.message}`);
      this[Symbol.dispose](); // the next job has a new one
      this.#onEnd?.();
    };
    return this.#worker = worker;
  }

  /** Ends the thread, and whatever it does. */
  [Symbol.dispose](): void {
    this.#worker?.terminate();
    [this.#worker, this.#device] = [undefined, null];
  }
}

/** What a failed job throws; visitors learn no path of this machine. */
function failure(
  { message, isBug, isUnfit }: Extract<WorkerMessage, { kind: "failed" }>,
  { path, vaePath, id }: ServedModel,
): Error {
  if (isUnfit) return new FastTierError(message);
  console.error(`could not sample from ${path}: ${message}`);
  return new SamplingError(
    isBug ? BUG : withoutPaths(message, { [path]: id, [vaePath ?? path]: id }),
  );
}

/** A message with names for paths: those that are known, and the last part of others. */
export function withoutPaths(message: string, names: Readonly<Record<string, string>>): string {
  for (const [path, name] of Object.entries(names)) message = message.replaceAll(path, name);
  return message.replaceAll(
    /(?:[A-Za-z]:)?[\\/](?:[^\s\\/:;,"'()]+[\\/])+([^\s\\/:;,"'()]*)/g,
    "$1",
  );
}
