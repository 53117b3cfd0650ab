/** What all rows share: the device, the model that suits it, images, an autoencoder, features. */
import { saveSafetensors } from "@dit/core/io";
import { Generator } from "@dit/core/tensor";
import { AutoencoderKL, type AutoencoderKLOptions, vaeConfigOf } from "@dit/core/vae";
import { encodePng } from "@dit/data";
import { join } from "@std/path";
import type { WebGpuBackend } from "../../tensor/webgpu/backend.ts";
import { findAdapter } from "../../tensor/webgpu/backend.ts";
import { run as extract } from "../../cli/commands/extract/command.ts";
import { findAutoencoder, fullName, VAE_CONFIG_KEY } from "../../cli/model/autoencoder.ts";
import { pretrainedPath } from "../../cli/model/catalog.ts";
import { modelSize } from "../../cli/model/model_flags.ts";
import { deviceText, startDevice } from "../../cli/shared/device.ts";
import { CommandError } from "../../cli/shared/errors.ts";
import { exists } from "../../cli/shared/files.ts";
import { fileName } from "../gpu/adapter.ts";
import type { Prepared, PrepareJob, Setup } from "./job.ts";

/** The original's measurement, for a GPU. */
const GPU = { model: "DiT-XL/2", batchSize: 128, imageSize: 256, warmup: 2, steps: 5 } as const;

/** What a CPU does in a few minutes. */
const CPU = { model: "DiT-S/2", batchSize: 8, imageSize: 128, warmup: 1, steps: 3 } as const;

/** Eight pixels a side for each of a latent, as the published ones. */
const TINY_VAE: AutoencoderKLOptions = {
  blockOutChannels: [4, 4, 4, 4],
  normNumGroups: 4,
  layersPerBlock: 1,
};

/** Classes that the images are of. */
const CLASSES = ["first", "second"] as const;

/** Prepares the rows. */
export async function prepare({ asked, folder, tiny, features }: PrepareJob): Promise<Prepared> {
  const device = await startDevice(asked);
  const isGpu = device.name === "webgpu" && !(device.backend as WebGpuBackend).isSoftware;
  const usual = isGpu ? GPU : CPU;
  const { model = usual.model, batchSize = usual.batchSize, imageSize = usual.imageSize } = asked;
  modelSize(model); // refuses names that there are not, before anything is made
  const vae = await autoencoder(asked.vae, folder, tiny);
  const setup: Setup = {
    model,
    batchSize,
    imageSize,
    device: device.name as Setup["device"],
    warmup: asked.warmup ?? usual.warmup,
    steps: asked.steps ?? usual.steps,
    vae: vae.name,
    others: asked.others ?? [],
  };
  const images = join(folder, "images");
  await writeImages(images, batchSize, imageSize);
  if (features) {
    const code = await extract([
      ...["--data", images, "--out", join(folder, "features"), "--image-size", String(imageSize)],
      ...["--vae", vae.name, "--device", device.name, "--no-flips"],
    ]);
    if (code !== 0) throw new CommandError(`extract-features ended with ${code}`);
  }
  const adapter = device.name === "webgpu" ? await findAdapter() : null;
  const machine = adapter ? fileName(adapter) : `${Deno.build.os}-${Deno.build.arch}-wasm`;
  return { setup, device: deviceText(device), machine, vae: vae.text };
}

/** The autoencoder: the one asked for, the published one where it is, otherwise random weights. */
async function autoencoder(
  asked: string | undefined,
  folder: string,
  tiny: boolean,
): Promise<{ name: string; text: string }> {
  if (asked !== undefined) {
    await findAutoencoder(asked, false); // refuses one that is not there
    return { name: asked, text: fullName(asked) };
  }
  if (!tiny && await exists(pretrainedPath("sd-vae-ft-ema"))) {
    return { name: "ema", text: fullName("ema") };
  }
  const options = tiny ? TINY_VAE : {};
  const path = join(folder, "vae.safetensors");
  using vae = new AutoencoderKL(options);
  await saveSafetensors(path, vae.stateDict(), [
    ["format", "pt"],
    [VAE_CONFIG_KEY, JSON.stringify(vaeConfigOf(options))],
  ]);
  const shape = tiny ? "a tiny architecture" : "the published architecture";
  return { name: path, text: `random weights of ${shape}` };
}

/** Pictures of gradients and noise, a batch of them. */
async function writeImages(folder: string, count: number, size: number): Promise<void> {
  for (const name of CLASSES) await Deno.mkdir(join(folder, name), { recursive: true });
  const generator = new Generator(5);
  for (let i = 0; i < count; i++) {
    const slopes = Array.from({ length: 6 }, () => generator.nextUniform());
    const pixels = Uint8Array.from({ length: size * size * 3 }, (_, at) => {
      const [x, y, c] = [Math.floor(at / 3) % size, Math.floor(at / 3 / size), at % 3];
      const level = (slopes[c]! * x + slopes[3 + c]! * y) / size;
      return Math.min(255, 110 * level + 35 * generator.nextUniform());
    });
    const name = `${String(i).padStart(6, "0")}.png`;
    const path = join(folder, CLASSES[i % CLASSES.length]!, name);
    await Deno.writeFile(path, await encodePng(pixels, size, size, 3));
  }
}
