/** The thread that samples: a device, and the models that were used last. */
import { ImageSampler } from "@dit/core/pipeline";
import { type Device, DeviceLostError, OutOfMemoryError, shutdown } from "@dit/core/tensor";
import { adviceOnLoss, type Picture, samplePictures } from "@dit/web";
import { loadAutoencoder, vaeOptionsBeside } from "../../model/autoencoder.ts";
import { withAutoencoder } from "../../model/latent_shape.ts";
import { openSampled, samplingAutoencoder } from "../../model/sampling_setup.ts";
import { deviceText, FastTierError, startDevice } from "../../shared/device.ts";
import { CommandError, messageOf } from "../../shared/errors.ts";
import { toCommandError } from "../../shared/failures.ts";
import {
  CONTROL,
  type WorkerJob,
  type WorkerMessage,
  type WorkerOpening,
  type WorkerSettings,
} from "./messages.ts";
import type { ModelPlace } from "./models.ts";

/** Bytes of weights that are kept beside those in use. */
const KEPT_BYTES = 1 << 30;

/** A model that is loaded. */
interface Loaded {
  readonly key: string;
  readonly bytes: number;
  readonly sampler: ImageSampler;
}

let device: Promise<Device> | undefined;

/** Models that are loaded, the one used last at the end. */
const loaded: Loaded[] = [];

/** This side of the thread, which looks like the other one. */
const thread = self as unknown as Worker;

/** Says something; finished pictures are handed over, those of previews may be shown again. */
function say(message: WorkerMessage, finished: readonly Picture[] = []): void {
  const buffers = finished.map(({ rgba }) => rgba.buffer);
  thread.postMessage(message, buffers);
}

thread.addEventListener("message", async ({ data }: MessageEvent<WorkerJob | WorkerOpening>) => {
  if (data.kind === "open") {
    await opened(data.settings).catch(() => {}); // said to the first job, which tries again
    return;
  }
  try {
    await work(data);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") {
      return say({ kind: "cancelled" });
    }
    const known = error instanceof OutOfMemoryError
      ? outOfMemory(error)
      : error instanceof DeviceLostError
      ? new CommandError(adviceOnLoss(error))
      : toCommandError(error);
    const isBug = !(known instanceof CommandError);
    const message = isBug && error instanceof Error
      ? error.stack ?? error.message
      : messageOf(known);
    say({ kind: "failed", message, isBug, isUnfit: known instanceof FastTierError });
  }
});

/** The device, opened if it is not, or not any more. */
async function opened(settings: WorkerSettings): Promise<Device> {
  const before = await device;
  if (before?.backend.isLost) {
    for (const { sampler } of loaded.splice(0)) sampler[Symbol.dispose]();
    await shutdown(before);
    device = undefined;
  }
  device ??= startDevice(settings);
  try {
    const started = await device;
    say({ kind: "device", device: deviceText(started) });
    return started;
  } catch (error) {
    device = undefined; // tried again by the next one
    throw error;
  }
}

async function work(job: WorkerJob): Promise<void> {
  const { settings, request, control } = job;
  const signal = {
    get aborted() {
      return Atomics.load(control, CONTROL.isCancelled) !== 0;
    },
  };
  const name = deviceText(await opened(settings));
  const sampler = await samplerOf(job, signal);
  const begun = performance.now(); // opening and loading are not done again
  const pictures = await samplePictures(sampler, request, {
    signal,
    wantsPreview: () => Atomics.load(control, CONTROL.wantsPreview) !== 0,
    onStep(step, steps, pictures) {
      if (pictures) Atomics.store(control, CONTROL.wantsPreview, 0);
      const event = { kind: "step", step, steps, ...(pictures ? { pictures } : {}) } as const;
      say({ kind: "event", event });
    },
  });
  const seconds = (performance.now() - begun) / 1000;
  say({ kind: "done", event: { kind: "done", pictures, seconds, device: name } }, pictures);
}

/** The sampler of a model, loaded if it is not there. */
async function samplerOf(
  { model, version, bytes, settings }: WorkerJob,
  signal: { readonly aborted: boolean },
): Promise<ImageSampler> {
  const key = JSON.stringify([model, version, bytes]);
  const at = loaded.findIndex((one) => one.key === key);
  if (at >= 0) loaded.push(...loaded.splice(at, 1));
  else {
    makeRoom(bytes);
    const sampler = await load(model, settings, (done, total) => {
      if (signal.aborted) throw new DOMException("the request was cancelled", "AbortError");
      const event = {
        kind: "loading",
        done: Math.round(bytes * done / total),
        total: bytes,
      } as const;
      say({ kind: "event", event });
    });
    loaded.push({ key, bytes, sampler });
  }
  return loaded.at(-1)!.sampler;
}

async function load(
  { path, flags, vae }: ModelPlace,
  { dtype }: WorkerSettings,
  onProgress: (done: number, total: number) => void,
): Promise<ImageSampler> {
  using weights = await openSampled(path, flags);
  const isLatent = weights.config.latents !== null;
  const vaePath = await samplingAutoencoder(weights, isLatent && vae !== undefined ? { vae } : {});
  if (vaePath === null) return await ImageSampler.load(weights, null, { dtype, onProgress });
  const config = withAutoencoder(weights, vaePath, await vaeOptionsBeside(vaePath));
  const autoencoder = await loadAutoencoder(vaePath, dtype);
  try {
    const { source } = weights;
    return await ImageSampler.load({ source, config }, autoencoder, { dtype, onProgress });
  } catch (error) {
    autoencoder.dispose();
    throw error;
  }
}

/** Unloads models, the one used longest ago first, until there is room for more weights. */
function makeRoom(bytes: number): void {
  const kept = () => loaded.reduce((sum, one) => sum + one.bytes, 0);
  while (loaded.length > 0 && kept() + bytes > KEPT_BYTES) {
    loaded.shift()!.sampler[Symbol.dispose]();
  }
}

/** What visitors are told where memory is full; models make room for the next one. */
function outOfMemory(error: OutOfMemoryError): CommandError {
  for (const { sampler } of loaded.splice(0)) sampler[Symbol.dispose]();
  return new CommandError(`${error.message}; ask for fewer pictures, or a smaller model`);
}
