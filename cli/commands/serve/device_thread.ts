/** The server's side of the thread that samples. */
import type { SampleEvent, SampleRequest } from "@dit/web";
import { FastTierError } from "../../shared/device.ts";
import { CONTROL, type WorkerJob, type WorkerMessage, type WorkerSettings } from "./messages.ts";
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
  /** What samples; null until the first job. */
  readonly device: string | null;
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
 * A thread with a device, which opens with the first job: the server answers others meanwhile, even
 * where a CPU computes. One job at a time.
 */
export class DeviceThread implements Sampling, Disposable {
  readonly #settings: WorkerSettings;
  #worker: Worker | undefined;
  #device: string | null = null;

  /** Starts nothing yet. */
  constructor(settings: WorkerSettings) {
    this.#settings = settings;
  }

  /** What samples; null until the first job. */
  get device(): string | null {
    return this.#device;
  }

  /** Samples; resolves after the `done` event. */
  async sample(model: ServedModel, request: SampleRequest, watch: Watch): Promise<void> {
    const { signal, onEvent, wantsPreview } = watch;
    signal.throwIfAborted();
    const { id, path, flags, vae, info: { bytes } } = model;
    const control = new Int32Array(new SharedArrayBuffer(8));
    control[CONTROL.wantsPreview] = 1;
    const cancel = () => Atomics.store(control, CONTROL.isCancelled, 1);
    signal.addEventListener("abort", cancel);
    if (this.#worker === undefined) onEvent({ kind: "loading", done: 0, total: bytes });
    const worker = this.#worker ??= newWorker();
    const place = { id, path, flags, vae };
    const job: WorkerJob = { settings: this.#settings, model: place, bytes, request, control };
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
        worker.onerror = (event) => {
          event.preventDefault();
          this[Symbol.dispose](); // the next job has a new one
          console.error(`the sampling thread ended: ${event.message}`);
          reject(new SamplingError(BUG));
        };
        worker.postMessage(job);
      });
    } finally {
      signal.removeEventListener("abort", cancel);
    }
  }

  /** Ends the thread, and whatever it does. */
  [Symbol.dispose](): void {
    this.#worker?.terminate();
    this.#worker = undefined;
  }
}

function newWorker(): Worker {
  return new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
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
