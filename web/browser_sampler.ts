/** What samples in a page's worker: a device and one model at a time. */
import { asVae, type SafetensorsFile } from "@dit/core/io";
import { loadWeights, withoutInit } from "@dit/core/nn";
import { ImageSampler } from "@dit/core/pipeline";
import { type Device, init, shutdown } from "@dit/core/tensor";
import { AutoencoderKL, vaeOptionsFromConfig } from "@dit/core/vae";
import { type LoadingProgress, loadWeightFile } from "./browser_weights.ts";
import type { BrowserDevice } from "./worker_engine.ts";

/** What a model is loaded from. */
export interface ModelFiles {
  /** Another one for other files. */
  readonly version: string;
  readonly weights: string | Blob;
  /** Null of models of pixels. */
  readonly autoencoder: string | null;
}

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
    onProgress: LoadingProgress,
  ): Promise<ImageSampler> {
    await this.#open(device);
    if (this.#sampler && this.#version === files.version) return this.#sampler;
    this.#forget();
    using file = await loadWeightFile(files.weights, signal, onProgress);
    const vae = files.autoencoder === null
      ? null
      : await loadAutoencoder(files.autoencoder, signal, onProgress);
    signal.throwIfAborted();
    this.#sampler = await ImageSampler.fromCheckpoint(file, vae);
    this.#version = files.version;
    return this.#sampler;
  }

  #forget(): void {
    this.#sampler?.[Symbol.dispose]();
    [this.#sampler, this.#version] = [null, null];
  }

  async #open(device: BrowserDevice): Promise<void> {
    if (this.#device && this.#asked === device) return;
    this.#forget();
    if (this.#device) await shutdown(this.#device);
    this.#device = null;
    this.#device = await init({ device });
    this.#asked = device;
  }
}

async function loadAutoencoder(
  address: string,
  signal: AbortSignal,
  onProgress: LoadingProgress,
): Promise<AutoencoderKL> {
  using file: SafetensorsFile = await loadWeightFile(address, signal, onProgress);
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
