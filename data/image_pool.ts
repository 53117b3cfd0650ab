import type * as threads from "node:worker_threads";
import { DamagedImageError, DataError } from "./errors.ts";
import { type DrawingTask, type ImageTask, type LoadedImage, runTask } from "./image_task.ts";
import type { ImageReply, ImageRequest } from "./image_worker.ts";

interface Pending {
  readonly resolve: (image: LoadedImage) => void;
  readonly reject: (error: Error) => void;
}

/** A thread and its pending tasks. */
interface Thread {
  readonly worker: threads.Worker;
  readonly pending: Map<number, Pending>;
}

/** The worker's module; Node's workers start from files or data only, not over the network. */
function workerUrl(): URL {
  const url = new URL("./image_worker.ts", import.meta.url);
  if (url.protocol === "file:") return url;
  const script = `import ${JSON.stringify(url.href)};`;
  return new URL(`data:text/javascript,${encodeURIComponent(script)}`);
}

/**
 * Threads that load images. Each gets its tasks as they come, not one by one when it is free: the
 * thread that drives the device may be away for a whole training step.
 */
export class ImagePool implements AsyncDisposable {
  readonly #count: number;
  #threads: Thread[] = [];
  #lastId = 0;

  /**
   * @param count How many threads, which start with the first task; 0 loads in the calling thread.
   */
  constructor(count: number) {
    if (!Number.isInteger(count) || count < 0) {
      throw new RangeError(`expected a whole number of workers but got ${count}`);
    }
    this.#count = count;
  }

  /**
   * Reads, decodes and crops an image file, or draws a drawing.
   *
   * @throws {DamagedImageError} If the file may not be read, is no image, or a damaged one.
   */
  async load(task: ImageTask | DrawingTask): Promise<LoadedImage> {
    if (this.#count === 0) return await runTask(task);
    while (this.#threads.length < this.#count) this.#start();
    const thread = this.#threads.reduce((least, other) => {
      return other.pending.size < least.pending.size ? other : least;
    });
    const id = ++this.#lastId;
    return await new Promise((resolve, reject) => {
      // Only threads with work keep the process alive.
      if (thread.pending.size === 0) thread.worker.ref();
      thread.pending.set(id, { resolve, reject });
      thread.worker.postMessage({ id, ...task } satisfies ImageRequest);
    });
  }

  /** Ends the threads; what they still had to do fails. */
  async close(): Promise<void> {
    const ended = this.#threads;
    this.#threads = [];
    await Promise.all(ended.map((thread) => {
      fail(thread, new Error("the images were closed while one was read"));
      return thread.worker.terminate();
    }));
  }

  /** Ends the threads, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #start(): void {
    // Not imported: pages load this module too, to train on images that are in memory.
    const { Worker } = globalThis.process.getBuiltinModule("node:worker_threads");
    const worker = new Worker(workerUrl());
    const thread: Thread = { worker, pending: new Map() };
    worker.on("message", (reply: ImageReply) => {
      const { resolve, reject } = thread.pending.get(reply.id)!;
      thread.pending.delete(reply.id);
      if (thread.pending.size === 0) worker.unref();
      if ("image" in reply) resolve(reply.image);
      else reject(new (reply.damaged ? DamagedImageError : DataError)(reply.error));
    });
    const ended = (why: string) => {
      this.#threads = this.#threads.filter((other) => other !== thread);
      fail(thread, new Error(`a thread that reads images ended${why}`));
    };
    worker.on("error", (error: Error) => ended(`: ${error.message}`));
    worker.on("exit", () => ended("")); // what is pending would stay so for ever
    worker.unref();
    this.#threads.push(thread);
  }
}

function fail({ pending }: Thread, error: Error): void {
  for (const { reject } of pending.values()) reject(error);
  pending.clear();
}
