/** Loads images away from the thread that drives the device: see `image_pool.ts`. */
import { parentPort } from "node:worker_threads";
import { DamagedImageError, messageOf } from "./errors.ts";
import { type DrawingTask, type ImageTask, type LoadedImage, runTask } from "./image_task.ts";

/** What a worker is sent; `id` is to match the answer with the question. */
export type ImageRequest = (ImageTask | DrawingTask) & { readonly id: number };

/** Its reply: the image, or why there is none. */
export type ImageReply =
  & { readonly id: number }
  & ({ readonly image: LoadedImage } | {
    readonly error: string;
    readonly damaged: boolean;
  });

async function answer({ id, ...task }: ImageRequest): Promise<void> {
  try {
    const image = await runTask(task);
    parentPort!.postMessage({ id, image } satisfies ImageReply, [image.pixels.buffer]);
  } catch (error) {
    const damaged = error instanceof DamagedImageError;
    const reply: ImageReply = { id, error: messageOf(error), damaged };
    parentPort!.postMessage(reply);
  }
}

// One after the other, so that what was asked for first is there first.
let last = Promise.resolve();
parentPort!.on("message", (request: ImageRequest) => {
  last = last.then(() => answer(request));
});
