/** The page's side of the wire: sampling on the machine that serves the page, and its runs. */
import { ADDRESSES } from "./addresses.ts";
import { decodeFrames } from "./frames.ts";
import type { Engine, ModelInfo, SampleEvent, SampleRequest } from "./protocol.ts";
import type { MetricsPart, RunInfo, Runs, StudioInfo } from "./runs.ts";

/** Samples on a server. */
export class HttpEngine implements Engine {
  /** Where it computes. */
  readonly place = "server";
  /** The runs that the server knows of. */
  readonly runs: Runs;
  readonly #base: URL;

  /** @param base The address of the page, such as `document.baseURI`. */
  constructor(base: string | URL) {
    this.#base = new URL("./", base);
    this.runs = {
      list: async (signal) => {
        const { runs } = await this.#get<{ runs: RunInfo[] }>(ADDRESSES.runs, signal);
        return runs;
      },
      metrics: (run, after, signal) =>
        this.#get<MetricsPart>(ADDRESSES.metrics(run, after), signal),
      picturesUrl: (run, step) => this.#url(ADDRESSES.pictures(run, step)),
    };
  }

  /** How the server is at the moment. */
  studio(): Promise<StudioInfo> {
    return this.#get<StudioInfo>(ADDRESSES.studio);
  }

  /** What it can sample from. */
  async models(): Promise<readonly ModelInfo[]> {
    const { models } = await this.#get<{ models: ModelInfo[] }>(ADDRESSES.models);
    return models;
  }

  /** Samples there; ending `signal` ends it there, too. */
  async sample(
    request: SampleRequest,
    onEvent: (event: SampleEvent) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const response = await asked(this.#url(ADDRESSES.sample), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(request),
      signal,
    });
    for await (const event of decodeFrames(chunks(response.body!))) {
      signal.throwIfAborted();
      if (event.kind === "failed") throw new Error(event.message);
      onEvent(event);
      if (event.kind === "done") return;
    }
    signal.throwIfAborted();
    throw new Error("the server ended before the pictures were finished");
  }

  async #get<T>(address: string, signal?: AbortSignal): Promise<T> {
    const response = await asked(this.#url(address), signal ? { signal } : {});
    return await response.json();
  }

  #url(address: string): string {
    return new URL(address, this.#base).href;
  }
}

/** @throws {Error} with what the server says, where it refuses; or that there is none any longer. */
async function asked(address: string, init: RequestInit): Promise<Response> {
  const response = await fetch(address, init).catch((error) => {
    if (!(error instanceof TypeError)) throw error; // it was cancelled
    throw new Error("the server cannot be reached; is it still running?", { cause: error });
  });
  if (response.ok) return response;
  let message = `the server answered ${response.status}`;
  try {
    const { error } = await response.json();
    if (typeof error === "string") message = error;
  } catch { // no JSON: from something between
  }
  throw new Error(message);
}

/** Parts of a body as they come; not every browser's streams can be iterated over. */
async function* chunks(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {}); // ends the connection, and the work with it
  }
}
