/** What samples in a page's worker: a device and one model at a time. */
import { asVae, openHttp, SafetensorsFile } from "@dit/core/io";
import { loadWeights, withoutInit } from "@dit/core/nn";
import { ImageSampler } from "@dit/core/pipeline";
import { type Device, DeviceLostError, init, OutOfMemoryError, shutdown } from "@dit/core/tensor";
import { AutoencoderKL, vaeOptionsFromConfig } from "@dit/core/vae";
import { adviceOnLoss } from "./sampling.ts";
import type { BrowserDevice, ModelFiles } from "./worker_engine.ts";

/** Files up to this size are fetched in one piece, which browsers keep; larger ones by ranges. */
const WHOLE_BYTES = 2 ** 26;

/** A device with the model that was asked for last. */
export class BrowserSampler {
  #device: Device | null = null;
  #asked: BrowserDevice = "auto";
  #version: string | null = null;
  #sampler: ImageSampler | null = null;

  /** What it computes on, for people. */
  get device(): string {
    const { name = "", backend } = this.#device ?? {};
    return backend ? `${name} (${backend.description}), in this browser` : "no device yet";
  }

  /**
   * The model, loaded where it is not there yet; the one before it goes first.
   *
   * @throws {Error} with what to do.
   */
  async load(
    device: BrowserDevice,
    files: ModelFiles,
    signal: AbortSignal,
    onProgress: (done: number) => void,
  ): Promise<ImageSampler> {
    await this.#open(device);
    if (this.#sampler && this.#version === files.version) return this.#sampler;
    this.#forget();
    const loading = new Loading(files.bytes, signal, onProgress);
    using file = await loading.open(files.weights);
    const vae = files.autoencoder === null
      ? null
      : await loadAutoencoder(await loading.open(files.autoencoder));
    try {
      signal.throwIfAborted();
      this.#sampler = await ImageSampler.fromCheckpoint(file, vae);
    } catch (error) {
      vae?.dispose(); // which is large, and nobody else's
      throw error;
    }
    this.#version = files.version;
    return this.#sampler;
  }

  #forget(): void {
    this.#sampler?.[Symbol.dispose]();
    [this.#sampler, this.#version] = [null, null];
  }

  async #open(device: BrowserDevice): Promise<void> {
    if (this.#device && this.#asked === device && !this.#device.backend.isLost) return;
    this.#forget();
    if (this.#device) await shutdown(this.#device);
    this.#device = null;
    this.#device = await init({ device });
    this.#asked = device;
  }
}

/** Files that are fetched, with the bytes that have arrived of all. */
class Loading {
  readonly #isWhole: boolean;
  readonly #signal: AbortSignal;
  readonly #onProgress: (done: number) => void;
  #done = 0;

  constructor(bytes: number, signal: AbortSignal, onProgress: (done: number) => void) {
    this.#isWhole = bytes <= WHOLE_BYTES;
    [this.#signal, this.#onProgress] = [signal, onProgress];
  }

  async open(file: string | Blob): Promise<SafetensorsFile> {
    if (typeof file !== "string") return await SafetensorsFile.open(file);
    const before = this.#done;
    const source = await openHttp(file, {
      signal: this.#signal,
      onProgress: (bytes) => this.#onProgress(this.#done = before + bytes),
      // without a range, the answer is the whole file
      ...(this.#isWhole ? { fetch: (url, { signal }) => fetch(url, { signal: signal! }) } : {}),
    });
    return await SafetensorsFile.from(source);
  }
}

/** @param file Closed with it. */
async function loadAutoencoder(file: SafetensorsFile): Promise<AutoencoderKL> {
  using _ = file;
  const config = file.metadata.get("config");
  const options = config === undefined ? {} : vaeOptionsFromConfig(JSON.parse(config));
  const model = withoutInit(() => new AutoencoderKL(options));
  try {
    await loadWeights(model, asVae(file, "diffusers"));
  } catch (error) {
    model.dispose();
    throw error;
  }
  model.eval();
  return model;
}

/** What went wrong, in words that say what to do where that is known. */
export function adviceOn(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  if (error instanceof DeviceLostError) {
    return adviceOnLoss(error);
  }
  if (!(error instanceof OutOfMemoryError) && !/allocation|out of memory/i.test(text)) return text;
  return "this browser has not enough memory for it. Ask for fewer pictures, close other pages, choose a " +
    `smaller model, or draw on a server where there is one (${text})`;
}
