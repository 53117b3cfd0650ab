/** The worker that samples for the page: requests one after the other, events back. */
import { adviceOn, BrowserSampler } from "./browser_sampler.ts";
import type { Picture, SampleEvent } from "./protocol.ts";
import { samplePictures } from "./sampling.ts";
import type { FromWorker, ToWorker } from "./worker_engine.ts";

/** What a page talks to in its worker. */
interface Port {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker, transfer: Transferable[]): void;
}

const port = globalThis as unknown as Port;
const sampler = new BrowserSampler();
const running = new Map<number, AbortController>();
let last: Promise<void> = Promise.resolve();

port.onmessage = ({ data }) => {
  if (data.kind === "cancel") {
    running.get(data.id)?.abort();
    return;
  }
  if (data.kind === "prepare") {
    last = last.then(() => prepare(data));
    return;
  }
  running.set(data.id, new AbortController());
  last = last.then(() => answer(data));
};

function tell(id: number, event: SampleEvent, pictures: readonly Picture[] = []): void {
  port.postMessage({ kind: "event", id, event }, pictures.map(({ rgba }) => rgba.buffer));
}

async function prepare({ device, files }: ToWorker & { readonly kind: "prepare" }): Promise<void> {
  const { signal } = new AbortController();
  await sampler.load(device, files, signal, () => {}).catch(() => {}); // the first request says why
}

async function answer(message: ToWorker & { readonly kind: "sample" }): Promise<void> {
  const { id, request, device, files } = message;
  const { signal } = running.get(id)!;
  try {
    signal.throwIfAborted();
    const loaded = await sampler.load(device, files, signal, (done) => {
      tell(id, { kind: "loading", done, total: Math.max(done, files.bytes) });
    });
    const begun = performance.now();
    const pictures = await samplePictures(loaded, request, {
      signal,
      onStep: (step, steps, shown) => {
        if (shown === undefined) tell(id, { kind: "step", step, steps });
        else tell(id, { kind: "step", step, steps, pictures: copies(shown) });
      },
    });
    const seconds = (performance.now() - begun) / 1000;
    tell(id, { kind: "done", pictures, seconds, device: sampler.device }, pictures);
  } catch (error) {
    const message = signal.aborted ? "cancelled" : adviceOn(error);
    port.postMessage({ kind: "failed", id, message }, []);
  } finally {
    running.delete(id);
  }
}

/** Pictures that are not changed while they are sent: some may be finished ones, sent again. */
function copies(pictures: readonly Picture[]): Picture[] {
  return pictures.map(({ width, height, rgba }) => ({ width, height, rgba: rgba.slice() }));
}
