/** Runs the workload in a worker of a page, where threads may be waited for. */
import { workload } from "./workload.ts";

/** What is used of a worker's scope. */
interface Scope {
  onmessage: (event: MessageEvent) => void;
  postMessage(message: unknown): void;
}

const scope = self as unknown as Scope;
scope.onmessage = async ({ data }) => {
  try {
    scope.postMessage({ outcome: await workload(data) });
  } catch (error) {
    scope.postMessage({ error: String(error) });
  }
};
