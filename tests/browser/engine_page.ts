/** What the tests of the engine call in a page. */
import type { InitOptions } from "@dit/core";
import type { Outcome } from "./workload.ts";

export { conformance } from "./conformance.ts";
export { workload } from "./workload.ts";

/** Runs the workload in a worker. */
export async function workloadInWorker(options: InitOptions): Promise<Outcome> {
  const worker = new Worker(new URL("engine_worker.js", import.meta.url), { type: "module" });
  try {
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
    worker.addEventListener("message", ({ data }: MessageEvent) => {
      if (data.error === undefined) resolve(data.outcome);
      else reject(new Error(data.error));
    });
    worker.addEventListener("error", (event) => reject(new Error((event as ErrorEvent).message)));
    worker.postMessage(options);
    return await promise;
  } finally {
    worker.terminate();
  }
}
