/**
 * The device's worker threads, fork and join: `start` hands every worker the launch described in
 * shared memory, `join` waits until all have done their share. The calling thread is thread 0 and
 * works along between the two.
 */
import { DeviceError, DeviceLostError } from "../../errors.ts";
import {
  COUNTER,
  DIED,
  DONE,
  FAILED,
  FAILURE_TEXT,
  FAILURE_TEXT_BYTES,
  HEAP_START,
  MAILBOX_STRIDE,
  MAILBOXES,
  MAX_THREADS,
  STOP,
} from "./layout.ts";
import * as layout from "./layout.ts";
import { PATIENCE, patienceOf } from "./patience.ts";
import { startThread, type Thread, threadsMissing } from "./host.ts";
import { workerScript, type WorkerStart } from "./worker.ts";

/** How long threads are waited for, and what they run. */
export interface ThreadsOptions {
  /** The workers' script; it sees a `port`. */
  readonly script?: string;
  /** Milliseconds that a worker may take to start. */
  readonly startMs?: number;
  /** Milliseconds of one wait for a launch. */
  readonly waitMs?: number;
  /**
   * Waits in a row without any progress after which a worker counts as gone. They are counted, and
   * no time is measured, so that a process that was suspended can continue.
   */
  readonly waits?: number;
}

/** A worker takes 10 ms to start, on a busy machine a second. */
const START_MS = 30_000;
/** A thread claims work in pieces that take far less than the minute that these make. */
const WAIT_MS = 1000, WAITS = 60;
/** How many of those waits a worker has to notice that it shall end. */
const WAITS_TO_END = 5;

/** Workers over one shared memory. */
export class Threads {
  readonly #memory: WebAssembly.Memory;
  readonly #words: Int32Array;
  readonly #workers: Thread[] = [];
  readonly #patience = patienceOf(PATIENCE);
  readonly #options: Required<ThreadsOptions>;
  #lost: DeviceLostError | undefined;

  constructor(memory: WebAssembly.Memory, options: ThreadsOptions = {}) {
    this.#memory = memory;
    this.#words = new Int32Array(memory.buffer, 0, HEAP_START / 4);
    const { startMs = START_MS, waitMs = WAIT_MS, waits = WAITS } = options;
    this.#options = { script: options.script ?? workerScript(layout), startMs, waitMs, waits };
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
    this.#checkAlive();
    const missing = count > 1 ? threadsMissing() : undefined;
    if (missing !== undefined) {
      throw new DeviceError(`wasm: expected one thread here but got ${count}: ${missing}`);
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
      await this.#end(1); // one that failed leaves a gap in the numbers of those that did not
      throw new DeviceError(`wasm: its threads could not start; use one thread: ${failed.reason}`);
    }
  }

  async #startWorker(thread: number): Promise<Thread> {
    this.#words[(MAILBOXES + thread * MAILBOX_STRIDE) / 4] = 0;
    const { script, startMs } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(
      () => reject(new Error(`thread ${thread} has not started within ${startMs / 1000} s`)),
      startMs,
    );
    // Once it has started, this marks it as gone; while the host is blocked, nothing does.
    const gone = (what: string) => {
      reject(new Error(`thread ${thread} ${what}`));
      if (this.#workers.includes(worker)) this.#lose(`thread ${thread} ${what}`);
    };
    const worker = startThread(script, { message: resolve, gone });
    try {
      worker.post({ memory: this.#memory, thread } satisfies WorkerStart);
      await promise;
      worker.unref();
      return worker;
    } catch (error) {
      await worker.terminate();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Whether one of the workers is gone. */
  get isLost(): boolean {
    return this.#lost !== undefined;
  }

  #lose(why: string): DeviceLostError {
    return this.#lost ??= new DeviceLostError(
      `wasm: ${why}; expected all threads of the device to run, so it can be used no longer`,
    );
  }

  #checkAlive(): void {
    if (this.#lost) throw this.#lost;
  }

  async #end(count: number): Promise<void> {
    const ended = this.#workers.splice(count - 1);
    if (ended.length === 0) return;
    Atomics.store(this.#words, STOP / 4, 1);
    this.#words[DONE / 4] = 0;
    ended.forEach((_, i) => this.#call(count + i));
    // They end by themselves, or by force where one of them does not answer.
    const isHeard = !this.#lost && this.#areDone(ended.length, WAITS_TO_END);
    // At once, since those that stay may be called while the others end.
    if (isHeard) Atomics.store(this.#words, STOP / 4, 0);
    await Promise.all(ended.map((worker) => worker.terminate()));
    Atomics.store(this.#words, STOP / 4, 0);
  }

  #call(thread: number): void {
    const mailbox = (MAILBOXES + thread * MAILBOX_STRIDE) / 4;
    Atomics.add(this.#words, mailbox, 1);
    Atomics.notify(this.#words, mailbox);
  }

  /**
   * Calls workers 1 to `threads - 1` to the launch that lies in shared memory.
   *
   * @throws {DeviceLostError} where one of them is gone.
   */
  start(threads: number): void {
    this.#checkAlive();
    this.#words[DONE / 4] = 0;
    this.#words[FAILED / 4] = 0;
    for (let thread = 1; thread < threads; thread++) this.#call(thread);
  }

  /**
   * Waits for the workers of the launch.
   *
   * @returns the first failure's message and thread, if any failed
   * @throws {DeviceLostError} where one of them is gone.
   */
  join(threads: number): string | undefined {
    const words = this.#words;
    if (!this.#areDone(threads - 1, this.#options.waits)) {
      const died = Atomics.load(words, DIED / 4);
      throw this.#lose(
        died > 0
          ? `thread ${died - 1} has died`
          : `${threads - 1 - words[DONE / 4]!} of ${threads} threads have not answered for ` +
            `${this.#options.waits * this.#options.waitMs / 1000} s`,
      );
    }
    const failed = words[FAILED / 4]!;
    if (failed === 0) return undefined;
    const length = Math.min(words[FAILURE_TEXT / 4]!, FAILURE_TEXT_BYTES);
    const text = new Uint8Array(this.#memory.buffer, FAILURE_TEXT + 4, length).slice();
    return `in thread ${failed - 1}: ${new TextDecoder().decode(text)}`;
  }

  /**
   * Waits until `count` workers have reported; whether they have. The blocked host gets no event of
   * a worker's end: it gives up where no work was claimed and no worker reported for long.
   */
  #areDone(count: number, waits: number): boolean {
    const words = this.#words;
    const most = this.#patience.polls();
    let polls = 0;
    while (polls < most && Atomics.load(words, DONE / 4) < count) polls++;
    this.#patience.note(polls, polls < most);
    let idle = 0, claimed = -1;
    for (let done; (done = Atomics.load(words, DONE / 4)) < count;) {
      if (Atomics.load(words, DIED / 4) !== 0) return false;
      const outcome = Atomics.wait(words, DONE / 4, done, this.#options.waitMs);
      const now = Atomics.load(words, COUNTER / 4);
      idle = outcome === "timed-out" && now === claimed ? idle + 1 : 0;
      if (idle >= waits) return false;
      claimed = now;
    }
    return true;
  }

  /** Ends all workers. */
  async dispose(): Promise<void> {
    await this.#end(1);
  }
}
