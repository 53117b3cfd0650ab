/** The thread that samples, on a GPU that is lost whenever a drawing is done. */
import type { WorkerMessage } from "./messages.ts";
import "./worker.ts";

const { requestDevice } = GPUAdapter.prototype;
let gpu: GPUDevice;
GPUAdapter.prototype.requestDevice = async function (...options) {
  return gpu = await requestDevice.apply(this, options);
};

const thread = self as unknown as {
  postMessage(message: WorkerMessage, transfer: Transferable[]): void;
};
const { postMessage } = thread;
thread.postMessage = (message, transfer) => {
  if (message.kind === "done") gpu.destroy();
  postMessage.call(thread, message, transfer);
};
