/**
 * The published model at its full size through the command that people run: DiT-XL/2 in a file of
 * PyTorch's and the autoencoder in diffusers' folder, both of random weights, and a picture of
 * 256x256 drawn with them. Fails where that takes too much memory, or gives no picture.
 */
import { fromFileUrl } from "@std/path";
import {
  AutoencoderKL,
  createDiT,
  DIT_CONFIGS,
  elementCount,
  Generator,
  type HostTensor,
  hostTensor,
  init,
  type LazyTensor,
  loadNpz,
  mul,
  nn,
  randn,
  saveSafetensors,
  saveTorch,
  scope,
  shutdown,
  sinCosPositions,
  vaeConfigOf,
} from "@dit/core";
import { duration, peakResidentBytes, type Report, type Row } from "./measure.ts";

/** The commands choose the tier by themselves. */
export const tiered = false;

/** Parameters of the published models. */
const PARAMETERS = { dit: 675_129_632, vae: 83_653_863 } as const;
const GIB = 2 ** 30;
/** What the command must stay below. */
const LIMIT = 8 * GIB;

/** Where the weights go for a while, from the root of the repository. */
const FOLDER = "bench/results/full-size";
const ROOT = new URL("../", import.meta.url);

/** Runs the suite. */
export async function run(report: Report): Promise<void> {
  const folder = new URL(`${FOLDER}/`, ROOT);
  await remove(folder);
  try {
    await writeWeights(folder);
    // f16 first: what is known is the most memory that any process so far has taken
    const rows = [await sampling("f16"), await sampling("f32")];
    report.add("deno task sample, DiT-XL/2, one picture of 256x256, guided, 2 steps", rows);
  } finally {
    await remove(folder);
  }
}

async function remove(folder: URL): Promise<void> {
  await Deno.remove(folder, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}

/** Writes both models as they are published, tensor by tensor. */
async function writeWeights(folder: URL): Promise<void> {
  const start = performance.now();
  const path = (file: string): string => fromFileUrl(new URL(file, folder));
  await Deno.mkdir(path("vae"), { recursive: true });
  const device = await init({ device: "wasm" });
  const dit = randomWeights(() => createDiT("DiT-XL/2"), PARAMETERS.dit);
  await saveTorch(path("DiT-XL-2-256x256.pt"), dit);
  const vae = randomWeights(() => new AutoencoderKL(), PARAMETERS.vae);
  await saveSafetensors(path("vae/diffusion_pytorch_model.safetensors"), vae, [["format", "pt"]]);
  await Deno.writeTextFile(path("vae/config.json"), JSON.stringify(vaeConfigOf({})));
  await shutdown(device);
  console.log(`weights of random numbers written: ${duration((performance.now() - start) / 1000)}`);
}

/** The tensors of a model, drawn as they are read; none of it is in memory before. */
function randomWeights(make: () => nn.Module, parameters: number): Map<string, LazyTensor> {
  const module = nn.withoutInit(make);
  const shapes = Array.from(module.stateDict(), ([name, { shape }]) => [name, shape] as const);
  module.dispose();
  const count = shapes.reduce((sum, [, shape]) => sum + elementCount(shape), 0);
  if (count !== parameters) throw new Error(`expected ${parameters} parameters but got ${count}`);
  const generator = new Generator(1);
  return new Map(shapes.map(([name, shape]) => {
    // keeps the variance of what goes through a layer, so that nothing overflows
    const std = 1 / Math.sqrt(elementCount(shape.slice(1)));
    const read = async (): Promise<HostTensor> => {
      if (name === "pos_embed") return positions();
      using _ = scope("bench");
      return hostTensor(await mul(randn(shape, { generator }), std).data(), shape);
    };
    return [name, { dtype: "f32", shape, read }];
  }));
}

/** The position embedding of the published model: fixed, and in its file. */
function positions(): HostTensor {
  const { hiddenSize, patchSize } = DIT_CONFIGS["DiT-XL/2"];
  const side = 32 / patchSize;
  const values = Float32Array.from(sinCosPositions(hiddenSize, side));
  return hostTensor(values, [1, side * side, hiddenSize]);
}

/** Draws one picture in a process of its own; how long that took, and how much memory. */
async function sampling(weights: "f16" | "f32"): Promise<Row> {
  const out = `${FOLDER}/${weights}.npz`;
  const start = performance.now();
  const { success } = await new Deno.Command("deno", {
    args: [
      "task",
      "--quiet",
      "sample",
      "--device",
      "wasm",
      ...(weights === "f16" ? ["--half"] : []),
      "--ckpt",
      `${FOLDER}/DiT-XL-2-256x256.pt`,
      "--vae",
      `${FOLDER}/vae`,
      "--out",
      out,
      "--classes",
      "207",
      "--sampler",
      "ddpm",
      "--num-sampling-steps",
      "2",
    ],
    cwd: ROOT,
  }).spawn().status;
  const seconds = (performance.now() - start) / 1000;
  if (!success) throw new Error("deno task sample failed"); // as it does where numbers are not finite
  await checkPicture(fromFileUrl(new URL(out, ROOT)));
  const peak = peakResidentBytes("children");
  if (peak !== null && peak >= LIMIT) {
    throw new Error(
      `expected less than ${LIMIT / GIB} GiB of memory but it took ${peak / GIB} GiB`,
    );
  }
  return { weights, seconds, "peak memory, GiB": peak === null ? "not known here" : peak / GIB };
}

/** Refuses all but one picture of 256x256 that is not of a single colour. */
async function checkPicture(path: string): Promise<void> {
  const { shape, data } = (await loadNpz(path)).get("arr_0")!;
  const colours = new Set(data).size;
  if (String(shape) !== "1,256,256,3" || colours < 16) {
    throw new Error(
      `expected a picture [1, 256, 256, 3] but got [${shape.join(", ")}] of ${colours} values`,
    );
  }
}
