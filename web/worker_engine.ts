/** Samples in the visitor's own browser, in a worker, so that the page stays quick. */
import { ADDRESSES } from "./addresses.ts";
import type { Engine, ModelInfo, SampleEvent, SampleRequest } from "./protocol.ts";

/** What to compute on: `auto` takes WebGPU where there is a GPU, else WebAssembly. */
export type BrowserDevice = "auto" | "webgpu" | "wasm";

/** Which model is meant, and where it is loaded from. */
export interface ModelFiles {
  /** Another one for other files, whatever they are called. */
  readonly version: string;
  /** Where the weights are, or the file itself. */
  readonly weights: string | Blob;
  /** Where the autoencoder of a model of latents is; null of others. */
  readonly autoencoder: string | null;
  /** Of both. */
  readonly bytes: number;
}

/** What the page tells its worker. */
export type ToWorker =
  | {
    readonly kind: "sample";
    readonly id: number;
    readonly request: SampleRequest;
    readonly device: BrowserDevice;
    readonly files: ModelFiles;
  }
  | { readonly kind: "prepare"; readonly device: BrowserDevice; readonly files: ModelFiles }
  | { readonly kind: "cancel"; readonly id: number };

/** What the worker tells the page. */
export type FromWorker =
  | { readonly kind: "event"; readonly id: number; readonly event: SampleEvent }
  | { readonly kind: "failed"; readonly id: number; readonly message: string };

/** Weights up to this size are loaded before they are asked for. */
const LIGHT_BYTES = 2 ** 24;

/** How long a worker has to end what was cancelled before it is ended itself, in milliseconds. */
const PATIENCE = 4000;

/** A model that the page made. */
interface OwnModel {
  readonly info: ModelInfo;
  readonly weights: Blob;
  readonly version: string;
}

/** A request that the worker has not ended. */
interface Waiting {
  readonly message: ToWorker & { readonly kind: "sample" };
  readonly signal: AbortSignal;
  readonly onEvent: (event: SampleEvent) => void;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Samples in a worker of the page. */
export class WorkerEngine implements Engine {
  /** Where it computes. */
  readonly place = "browser";
  readonly #base: URL;
  readonly #device: BrowserDevice;
  readonly #own = new Map<string, OwnModel>();
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | null = null;
  /** Models of the page's host, as they were when they were read last. */
  #hosted: readonly ModelInfo[] | null = null;
  #last = 0;

  /** @param base The address of the page, such as `document.baseURI`. */
  constructor(base: string | URL, device: BrowserDevice = "auto") {
    [this.#base, this.#device] = [new URL("./", base), device];
  }

  /** Models of the page's host as they are now, and those that the page made. */
  async models(): Promise<readonly ModelInfo[]> {
    try {
      this.#hosted = await this.#read();
    } catch (error) {
      if (this.#hosted === null) throw error;
    } // otherwise those of before: what is loaded draws without the host
    return this.#known();
  }

  /** Adds a model that the page made, such as one that it trained; a former one of that id goes. */
  addModel(info: ModelInfo, weights: Blob): void {
    this.#own.set(info.id, { info, weights, version: `${info.id} ${++this.#last}` });
  }

  /** Opens the device and loads the weights, where they are few. */
  prepare(model: ModelInfo): void {
    if (model.bytes > LIGHT_BYTES) return;
    const files = this.#filesOf(model);
    this.#post(this.#worker ??= this.#start(), { kind: "prepare", device: this.#device, files });
  }

  /** Samples there; one request at a time is best, since each has the whole processor. */
  async sample(
    request: SampleRequest,
    onEvent: (event: SampleEvent) => void,
    signal: AbortSignal,
  ): Promise<void> {
    signal.throwIfAborted();
    if (this.#hosted === null) await this.models();
    signal.throwIfAborted();
    const model = this.#known().find(({ id }) => id === request.model);
    if (model === undefined) throw new Error(`there is no model ${request.model} here`);
    const id = ++this.#last;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const files = this.#filesOf(model);
    const message = { kind: "sample", id, request, device: this.#device, files } as const;
    this.#waiting.set(id, { message, signal, onEvent, resolve, reject });
    const abort = (): void => {
      reject(signal.reason);
      const worker = this.#worker;
      if (worker === null) return;
      this.#post(worker, { kind: "cancel", id });
      setTimeout(() => {
        if (this.#waiting.has(id) && this.#worker === worker) this.#replace(worker);
      }, PATIENCE);
    };
    signal.addEventListener("abort", abort);
    this.#post(this.#worker ??= this.#start(), message);
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  #known(): readonly ModelInfo[] {
    return [...[...this.#own.values()].map(({ info }) => info), ...this.#hosted ?? []];
  }

  #filesOf({ id, version = "", bytes, isLatent }: ModelInfo): ModelFiles {
    const own = this.#own.get(id);
    const url = (address: string): string => new URL(address, this.#base).href;
    return {
      version: own?.version ?? `${id} ${version}`,
      weights: own?.weights ?? url(ADDRESSES.weights(id)),
      autoencoder: isLatent ? url(ADDRESSES.autoencoder(id)) : null,
      bytes,
    };
  }

  async #read(): Promise<readonly ModelInfo[]> {
    const response = await fetch(new URL(ADDRESSES.models, this.#base));
    if (!response.ok) {
      throw new Error(`${ADDRESSES.models}: the page's host answered ${response.status}`);
    }
    const { models } = await response.json();
    return models;
  }

  #start(): Worker {
    const worker = new Worker(new URL("worker.js", this.#base), { type: "module" });
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
      const waiting = this.#waiting.get(data.id);
      if (data.kind === "failed") {
        this.#waiting.delete(data.id);
        waiting?.reject(new Error(data.message));
        return;
      }
      waiting?.onEvent(data.event);
      if (data.event.kind !== "done") return;
      this.#waiting.delete(data.id);
      waiting?.resolve();
    };
    worker.onerror = (event) => {
      event.preventDefault();
      const why = event.message || "its file could not be loaded";
      this.#end(worker, new Error(`the worker that computes in this browser has ended: ${why}`));
    };
    return worker;
  }

  #post(worker: Worker, message: ToWorker): void {
    worker.postMessage(message);
  }

  /** Ends a worker that goes on with what was cancelled; what waits behind that has another one. */
  #replace(worker: Worker): void {
    worker.terminate();
    this.#worker = null;
    for (const [id, { message, signal }] of this.#waiting) {
      if (signal.aborted) this.#waiting.delete(id);
      else this.#post(this.#worker ??= this.#start(), message);
    }
  }

  /** Ends the worker; the next request starts another one. */
  #end(worker: Worker, reason: Error): void {
    worker.terminate();
    if (this.#worker === worker) this.#worker = null;
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#waiting.clear();
  }
}
