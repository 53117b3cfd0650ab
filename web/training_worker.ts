/** The worker that trains for the page: one training in its life, which ends with it. */
import { init } from "@dit/core/tensor";
import { trainModel } from "./training.ts";
import { readTrainingPlan, unpackImages } from "./training_data.ts";
import type { FromTrainingWorker, ToTrainingWorker } from "./worker_trainer.ts";

/** What a page talks to in its worker. */
interface Port {
  onmessage: ((event: MessageEvent<ToTrainingWorker>) => void) | null;
  postMessage(message: FromTrainingWorker): void;
}

const port = globalThis as unknown as Port;
let isStopped = false;

port.onmessage = ({ data }) => {
  if (data.kind === "stop") isStopped = true;
  else train(data);
};

async function train(message: ToTrainingWorker & { readonly kind: "train" }): Promise<void> {
  const { plan: json, images, request, device } = message;
  try {
    const plan = readTrainingPlan(json);
    const bytes = await fetchAll(images, plan.bytes, (done, total) => {
      port.postMessage({ kind: "event", event: { kind: "loading", done, total } });
    });
    const dataset = await unpackImages(bytes, plan);
    await init({ device });
    await trainModel(
      plan,
      dataset,
      request,
      (event) => port.postMessage({ kind: "event", event }),
      { isStopped: () => isStopped },
    );
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    port.postMessage({ kind: "failed", message: text });
  }
}

/** The bytes of a file, with progress. */
async function fetchAll(
  address: string,
  total: number,
  onProgress: (done: number, total: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(address).catch((error) => {
    throw new Error(`${address} cannot be reached: ${error.message}`);
  });
  if (!response.ok || response.body === null) {
    throw new Error(`${address}: the page's host answered ${response.status}`);
  }
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let done = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done: isDone, value } = await reader.read();
    if (isDone) return new Uint8Array(await new Blob(parts).arrayBuffer());
    parts.push(value);
    done += value.length;
    onProgress(done, Math.max(done, total));
  }
}
