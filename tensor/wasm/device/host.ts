/**
 * What the runtime offers the device beyond WebAssembly itself: threads and the number of cores.
 * Deno, Node and Bun have Node's worker threads, pages have Web Workers. All that the device needs
 * to know of the runtime is decided here, when it is asked and not when the module loads.
 */

/** What is used of Node's modules, which Deno and Bun have too. */
interface NodeProcess {
  readonly arch?: string;
  getBuiltinModule?(name: "node:worker_threads"): {
    Worker: new (source: string, options: { eval: true }) => NodeWorker;
  } | undefined;
}

/** A worker thread of Node's. */
interface NodeWorker {
  on(event: string, listener: (detail: unknown) => void): void;
  postMessage(message: unknown): void;
  terminate(): Promise<unknown>;
  unref(): void;
}

/** What is used of the global scope where it is a page's, or its worker's. */
interface WebScope {
  readonly crossOriginIsolated?: boolean;
  readonly document?: unknown;
  readonly navigator?: { readonly hardwareConcurrency?: number };
  readonly process?: NodeProcess;
}

const scope = globalThis as WebScope;

function nodeThreads(): ReturnType<NonNullable<NodeProcess["getBuiltinModule"]>> {
  return scope.process?.getBuiltinModule?.("node:worker_threads");
}

/** Cores that the runtime counts. */
export function cores(): number {
  return scope.navigator?.hardwareConcurrency ?? 1;
}

/** Whether the processor is known to be an x86-64 one; browsers do not tell. */
export function isX64(): boolean {
  return scope.process?.arch === "x64";
}

/** Why no further threads can be had here, or undefined where they can. */
export function threadsMissing(): string | undefined {
  if (nodeThreads() !== undefined) return undefined;
  if (typeof Worker !== "function") return "this runtime has no workers";
  if (scope.document !== undefined) {
    return "the main thread of a page may not wait for others; compute in a Worker";
  }
  if (scope.crossOriginIsolated !== true) {
    return "threads share memory, which a page may when it is cross-origin isolated: serve it with " +
      "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp";
  }
  return undefined;
}

/** What a thread reports while the thread that started it is not blocked. */
export interface ThreadEvents {
  /** It has sent a message. */
  message(): void;
  /** It failed, or ended without having been told to. */
  gone(what: string): void;
}

/** A thread that was started. */
export interface Thread {
  /** Sends it a message. */
  post(message: unknown): void;
  /** Lets the process end while it waits. */
  unref(): void;
  /** Ends it. */
  terminate(): Promise<void>;
}

/**
 * Starts a thread.
 *
 * @param source Its script, which sees a `port` (see worker.ts) to speak through.
 */
export function startThread(source: string, events: ThreadEvents): Thread {
  return nodeThreads() === undefined
    ? startWebWorker(source, events)
    : startNodeWorker(source, events);
}

/** Node's kind of worker where there is one, because only it lets a process end. */
function startNodeWorker(source: string, events: ThreadEvents): Thread {
  const port = 'const port = process.getBuiltinModule("node:worker_threads").parentPort;';
  const worker = new (nodeThreads()!.Worker)(`${port}\n${source}`, { eval: true });
  worker.on("message", () => events.message());
  worker.on("error", (error) => events.gone(`failed: ${error}`));
  worker.on("exit", (code) => events.gone(`ended with code ${code}`));
  return {
    post: (message) => worker.postMessage(message),
    unref: () => worker.unref(),
    terminate: async () => void await worker.terminate(),
  };
}

function startWebWorker(source: string, events: ThreadEvents): Thread {
  const port = "const port = {" +
    "once: (_, receive) => addEventListener('message', (event) => receive(event.data), { once: true })," +
    "postMessage: (message) => postMessage(message) };";
  const url = URL.createObjectURL(
    new Blob([`${port}\n${source}`], { type: "text/javascript" }),
  );
  const worker = new Worker(url);
  worker.addEventListener("message", () => {
    URL.revokeObjectURL(url); // it has loaded
    events.message();
  });
  worker.addEventListener("error", (event) => {
    const { message } = event as ErrorEvent;
    events.gone(message ? `failed: ${message}` : "could not be loaded (the page's policy?)");
  });
  return {
    post: (message) => worker.postMessage(message),
    unref() {},
    terminate() {
      URL.revokeObjectURL(url);
      worker.terminate();
      return Promise.resolve();
    },
  };
}
