/** Running the commands as people do, in processes of their own, on models of a few kilobytes. */
import { DiT } from "@dit/core/dit";
import { type HostTensor, hostTensor } from "@dit/core/io";
import { type Module, withoutInit } from "@dit/core/nn";
import { init } from "@dit/core/tensor";
import { AutoencoderKL, type AutoencoderKLOptions } from "@dit/core/vae";
import { writeCheckpoint } from "@dit/cli";
import type { ModelConfig } from "@dit/core/pipeline";
import { diskTest, granted, unreadable } from "./fixtures.ts";
import { numbers } from "./numbers.ts";

/** How a command ended. */
export interface Ended {
  readonly code: number;
  /** Standard output. */
  readonly out: string;
  /** Standard error. */
  readonly err: string;
}

/** Why commands cannot be run here, or undefined where they can. */
const noCommands: string | undefined = granted({ name: "run", command: "deno" })
  ? unreadable
  : "needs --allow-run=deno";

/** Arguments of `deno` that start a command as its task does. */
export function launchArguments(name: string, args: readonly string[]): string[] {
  const launch = new URL("../cli/launch.ts", import.meta.url).href;
  return ["run", "-q", "--allow-run", "--allow-env", launch, name, ...args];
}

/**
 * Runs `deno task NAME ARGUMENTS`, but in another folder.
 *
 * @param cwd Where the command finds `results/` and the like.
 */
export async function command(
  name: string,
  args: readonly string[],
  cwd: string,
  env: Record<string, string> = {},
): Promise<Ended> {
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: launchArguments(name, args),
    cwd,
    // see prepareMesa(); what is measured of a GPU stays in the test's folder
    env: { NO_COLOR: "1", GALLIVM_PERF: "nopt", DIT_TUNE_DIR: "tune", ...env },
  }).output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout), err: text.decode(stderr) };
}

/** The words of a command line, which may be given in several lines. */
export function words(...lines: readonly string[]): string[] {
  return lines.flatMap((line) => line.split(" "));
}

/**
 * Runs command lines of which most are refused in one process, since it is starting that takes the
 * time: without `launch.ts`, its V8 flags and the fewest rights.
 */
export async function commandLines(
  lines: readonly (readonly string[])[],
  cwd: string,
): Promise<Ended[]> {
  const rights = ["--allow-read", "--allow-write=.", "--allow-env", "--allow-ffi", "--allow-sys"];
  const script = new URL("command_lines.ts", import.meta.url).href;
  const { stdout, stderr } = await new Deno.Command("deno", {
    args: ["run", "-q", "--no-prompt", ...rights, script, JSON.stringify(lines)],
    cwd,
    env: { NO_COLOR: "1" },
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  try {
    return JSON.parse(out!) as Ended[];
  } catch {
    throw new Error(`expected how each command line ended but got ${out} and ${err}`);
  }
}

/** Registers a test that gets the path of an empty folder to run commands in. */
export function commandTest(name: string, run: (folder: string) => Promise<void>): void {
  if (noCommands) Deno.test({ name: `${name} (${noCommands})`, ignore: true, fn() {} });
  else diskTest(name, run);
}

/** The shape of a small model of pixels. */
export const SMALL: ModelConfig = {
  name: "small",
  dit: {
    inputSize: 8,
    patchSize: 2,
    inChannels: 1,
    hiddenSize: 128,
    depth: 2,
    numHeads: 4,
    mlpRatio: 4,
    classDropoutProb: 0.1,
    numClasses: 6,
    learnSigma: false,
  },
  diffusion: {
    objective: "xstart",
    noiseSchedule: "linear",
    diffusionSteps: 1000,
    minSnrGamma: null,
  },
  latents: null,
  classNames: ["none", "one", "two", "three", "four", "five"],
  nullClass: 6,
};

/** As {@link SMALL}, of latents as the original has them. */
export function smallLatents(dit: Partial<ModelConfig["dit"]>, vae: string): ModelConfig {
  const merged = { ...SMALL.dit, inChannels: 4, learnSigma: true, ...dit };
  return {
    ...SMALL,
    dit: merged,
    diffusion: { ...SMALL.diffusion, objective: "epsilon" },
    latents: { vae, scalingFactor: 0.18215, downsample: 8 },
    nullClass: merged.numClasses,
    classNames: [],
  };
}

/** Small random weights under a module's names, in its shapes; its own where `keep` says so. */
async function randomWeights(
  module: Module,
  keep: (name: string) => boolean = () => false,
): Promise<Map<string, HostTensor>> {
  const next = numbers(7);
  const weights = new Map<string, HostTensor>();
  for (const [name, tensor] of module.stateDict()) {
    const { shape, size } = tensor;
    const scale = 1 / Math.sqrt(shape.at(-1)!);
    const values = keep(name)
      ? Float32Array.from(await tensor.data())
      : Float32Array.from({ length: size }, () => (next() - 0.5) * scale);
    weights.set(name, hostTensor(values, shape));
  }
  module.dispose();
  return weights;
}

/** Weights of a model that is not trained, but does not give zeros either. */
export async function smallWeights(config: ModelConfig): Promise<Map<string, HostTensor>> {
  await init({ device: "reference" });
  return await randomWeights(
    withoutInit(() => new DiT(config.dit)),
    (name) => name === "pos_embed",
  );
}

/** Writes a checkpoint as `deno task train` does; returns its path. */
export async function writeRun(
  results: string,
  name: string,
  step: number,
  config: ModelConfig = SMALL,
): Promise<string> {
  const folder = `${results}/${name}/checkpoints`;
  await Deno.mkdir(folder, { recursive: true });
  const path = `${folder}/${String(step).padStart(7, "0")}.safetensors`;
  const ema = await smallWeights(config);
  await writeCheckpoint(path, { trainee: "dit", step, config, training: null }, { ema });
  return path;
}

/** A small autoencoder with eight pixels for each of a latent. */
export const SMALL_VAE = { blockOutChannels: [4, 4, 4, 4], normNumGroups: 4, layersPerBlock: 1 };

/** Its weights. */
export function smallVaeWeights(): Promise<Map<string, HostTensor>> {
  return vaeWeights(SMALL_VAE);
}

/** Weights of an autoencoder that is not trained. */
export async function vaeWeights(options: AutoencoderKLOptions): Promise<Map<string, HostTensor>> {
  await init({ device: "reference" });
  return await randomWeights(withoutInit(() => new AutoencoderKL(options)));
}

/** Width and height of a PNG file. */
export function pngSize(bytes: Uint8Array): [width: number, height: number] {
  const signature = new TextDecoder("latin1").decode(bytes.subarray(1, 4));
  if (signature !== "PNG") throw new Error(`expected a PNG file but got ${signature}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return [view.getUint32(16), view.getUint32(20)];
}
