/**
 * One thread of the WebAssembly device: sleeps until it is called to a launch, runs its share,
 * reports, sleeps again. Started by threads.ts; speaks with it through shared memory only, because
 * a thread blocked in `Atomics.wait` receives no messages.
 */
import type * as layoutModule from "./layout.ts";
import { PATIENCE, type Patience, patienceOf } from "./patience.ts";

/** Where things lie in the memory. */
type Layout = typeof layoutModule;

/** How a thread speaks with the one that started it, before it first sleeps. */
export interface ThreadPort {
  once(event: "message", receive: (start: WorkerStart) => void): void;
  postMessage(message: string): void;
}

/** The first and only message: what to work on, and which thread this is. */
export interface WorkerStart {
  memory: WebAssembly.Memory;
  thread: number;
}

/** The script of a worker, for `startThread`: this module's code as text, so that none is loaded. */
export function workerScript(layout: Layout): string {
  const patience = `(${patienceOf})(${JSON.stringify(PATIENCE)})`;
  return `(${threadMain})(${JSON.stringify(layout)}, port, ${patience});`;
}

/**
 * What a worker runs. Its text is sent to the worker, so it uses its parameters only, nothing else
 * of this module or of others.
 */
export function threadMain(layout: Layout, port: ThreadPort, patience: Patience): void {
  const {
    ARGS,
    DIED,
    DONE,
    FAILED,
    FAILURE_TEXT,
    FAILURE_TEXT_BYTES,
    HEAP_START,
    LAUNCH,
    LAUNCH_FIELDS,
    MAILBOX_STRIDE,
    MAILBOXES,
    SCRATCH_BASE,
    STAGING,
    STOP,
  } = layout;
  type Kernel = (args: number, thread: number, threads: number, scratch: number) => void;

  function work({ memory, thread }: WorkerStart): void {
    // Only low memory, which never moves or grows, is looked at from here.
    const words = new Int32Array(memory.buffer, 0, HEAP_START / 4);
    const scratchBase = new Float64Array(memory.buffer, SCRATCH_BASE, 1);
    const launch = LAUNCH / 4;
    const mailbox = (MAILBOXES + thread * MAILBOX_STRIDE) / 4;
    const modules = new Map<number, Kernel[]>();

    const kernelsOf = (module: number): Kernel[] => {
      let kernels = modules.get(module);
      if (!kernels) {
        const bytes = words[launch + LAUNCH_FIELDS.moduleBytes]!;
        const code = new Uint8Array(memory.buffer, STAGING, bytes).slice();
        const instance = new WebAssembly.Instance(new WebAssembly.Module(code), {
          env: { memory },
        });
        kernels = Object.values(instance.exports) as unknown as Kernel[];
        modules.set(module, kernels);
      }
      return kernels;
    };

    const fail = (error: unknown): void => {
      if (Atomics.compareExchange(words, FAILED / 4, 0, thread + 1) !== 0) return;
      const text = new Uint8Array(FAILURE_TEXT_BYTES);
      const { written } = new TextEncoder().encodeInto(String(error), text);
      new Uint8Array(memory.buffer, FAILURE_TEXT + 4, written).set(text.subarray(0, written));
      words[FAILURE_TEXT / 4] = written;
    };

    for (let seen = 0;;) {
      const most = patience.polls();
      let polls = 0;
      while (polls < most && Atomics.load(words, mailbox) === seen) polls++;
      patience.note(polls, polls < most);
      Atomics.wait(words, mailbox, seen);
      if (Atomics.load(words, mailbox) === seen) continue;
      seen++;
      if (Atomics.load(words, STOP / 4) !== 0) {
        Atomics.add(words, DONE / 4, 1);
        Atomics.notify(words, DONE / 4);
        return;
      }

      const threads = words[launch + LAUNCH_FIELDS.threads]!;
      try {
        const kernel = kernelsOf(words[launch + LAUNCH_FIELDS.module]!)[
          words[launch + LAUNCH_FIELDS.export]!
        ]!;
        const stride = words[launch + LAUNCH_FIELDS.scratchStride]!;
        kernel(ARGS, thread, threads, scratchBase[0]! + thread * stride);
      } catch (error) {
        fail(error);
      }
      if (Atomics.add(words, DONE / 4, 1) + 1 === threads - 1) Atomics.notify(words, DONE / 4);
    }
  }

  port.once("message", (start) => {
    port.postMessage("ready");
    try {
      work(start);
    } catch (error) {
      // The host may be blocked, where no event reaches it.
      const words = new Int32Array(start.memory.buffer, 0, HEAP_START / 4);
      Atomics.store(words, DIED / 4, start.thread + 1);
      Atomics.notify(words, DONE / 4);
      throw error;
    }
  });
}
