/** What the tests of the engine call in a page. */
import { init, type InitOptions, SafetensorsFile } from "@dit/core";
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

/** A tensor of f32 of a file on a server, or of a path, which a page has none of. */
export async function readTensor(file: string, name: string): Promise<number[]> {
  using opened = await SafetensorsFile.open(file.startsWith("http") ? new URL(file) : file);
  const { data } = await opened.read(name);
  return [...new Float32Array(data.slice().buffer)];
}

/** What a device says of itself. */
export async function describeDevice(options: InitOptions): Promise<string> {
  return (await init(options)).backend.description;
}
