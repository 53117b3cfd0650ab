/**
 * The device's worker threads, fork and join: `start` hands every worker the launch described in
 * shared memory, `join` waits until all have done their share. The calling thread is thread 0 and
 * works along between the two.
 */
import { Worker } from "node:worker_threads";
import { DeviceError } from "../../errors.ts";
import {
  DONE,
  FAILED,
  FAILURE_TEXT,
  FAILURE_TEXT_BYTES,
  HEAP_START,
  MAILBOX_STRIDE,
  MAILBOXES,
  MAX_THREADS,
  SPINS,
  STOP,
} from "./layout.ts";
import type { WorkerStart } from "./worker.ts";

/** The worker's module; Node's workers start from files or data only, not over the network. */
function workerUrl(): URL {
  const url = new URL("./worker.ts", import.meta.url);
  if (url.protocol === "file:") return url;
  const script = `import ${JSON.stringify(url.href)};`;
  return new URL(`data:text/javascript,${encodeURIComponent(script)}`);
}

/**
 * Whether workers can start without anyone being asked: they read this package's files, unless it
 * came over the network.
 */
export function mayStartThreads(): boolean {
  const path = new URL("../", import.meta.url);
  return path.protocol !== "file:" ||
    Deno.permissions.querySync({ name: "read", path }).state === "granted";
}

/** Workers over one shared memory. */
export class Threads {
  readonly #memory: WebAssembly.Memory;
  readonly #words: Int32Array;
  readonly #workers: Worker[] = [];

  constructor(memory: WebAssembly.Memory) {
    this.#memory = memory;
    this.#words = new Int32Array(memory.buffer, 0, HEAP_START / 4);
  }

  /** Threads at work, the calling one included. */
  get count(): number {
    return this.#workers.length + 1;
  }

  /** Starts or ends workers until there are `count` threads; about 10 ms for each new one. */
  async resize(count: number): Promise<void> {
    if (!Number.isInteger(count) || count < 1 || count > MAX_THREADS) {
      throw new DeviceError(
        `setThreads: expected a whole number from 1 to ${MAX_THREADS} but got ${count}`,
      );
    }
    if (count < this.count) await this.#end(count);
    const first = this.count;
    const started = Array.from({ length: count - first }, (_, i) => this.#startWorker(first + i));
    const settled = await Promise.allSettled(started);
    for (const outcome of settled) {
      if (outcome.status === "fulfilled") this.#workers.push(outcome.value);
    }
    const failed = settled.find((outcome) => outcome.status === "rejected");
    if (failed) {
      await this.#end(1);
      throw new DeviceError(
        "wasm: its threads could not start; they need read access to this package's files " +
          `(--allow-read), or use one thread: ${failed.reason}`,
      );
    }
  }

  async #startWorker(thread: number): Promise<Worker> {
    this.#words[(MAILBOXES + thread * MAILBOX_STRIDE) / 4] = 0;
    // Node's kind of worker, because only it can be told not to keep the process alive.
    const worker = new Worker(workerUrl());
    return await new Promise((resolve, reject) => {
      worker.once("error", reject);
      worker.once("message", () => {
        worker.unref();
        resolve(worker);
      });
      worker.postMessage({ memory: this.#memory, thread } satisfies WorkerStart);
    });
  }

  async #end(count: number): Promise<void> {
    const ended = this.#workers.splice(count - 1);
    Atomics.store(this.#words, STOP / 4, 1);
    this.#words[DONE / 4] = 0;
    ended.forEach((_, i) => this.#call(count + i));
    // Not before all have seen it: one that came late would take the next launch for its own.
    this.#waitFor(ended.length);
    Atomics.store(this.#words, STOP / 4, 0);
    await Promise.all(ended.map((worker) => worker.terminate()));
  }

  #call(thread: number): void {
    const mailbox = (MAILBOXES + thread * MAILBOX_STRIDE) / 4;
    Atomics.add(this.#words, mailbox, 1);
    Atomics.notify(this.#words, mailbox);
  }

  /** Calls workers 1 to `threads - 1` to the launch that lies in shared memory. */
  start(threads: number): void {
    this.#words[DONE / 4] = 0;
    this.#words[FAILED / 4] = 0;
    for (let thread = 1; thread < threads; thread++) this.#call(thread);
  }

  /**
   * Waits for the workers of the launch.
   *
   * @returns what the first failure said and in which thread, if any failed
   */
  join(threads: number): string | undefined {
    const words = this.#words;
    this.#waitFor(threads - 1);
    const failed = words[FAILED / 4]!;
    if (failed === 0) return undefined;
    const length = Math.min(words[FAILURE_TEXT / 4]!, FAILURE_TEXT_BYTES);
    const text = new Uint8Array(this.#memory.buffer, FAILURE_TEXT + 4, length).slice();
    return `in thread ${failed - 1}: ${new TextDecoder().decode(text)}`;
  }

  /** Waits until `count` workers have reported. */
  #waitFor(count: number): void {
    const words = this.#words;
    for (let spins = 0; spins < SPINS && Atomics.load(words, DONE / 4) < count;) spins++;
    for (let done; (done = Atomics.load(words, DONE / 4)) < count;) {
      Atomics.wait(words, DONE / 4, done);
    }
  }

  /** Ends all workers. */
  async dispose(): Promise<void> {
    await this.#end(1);
  }
}
