/** The published weights: what there is, where it is, and how to get it. */
import { join } from "@std/path";
import { CommandError, didYouMean, messageOf } from "./errors.ts";
import { ProgressLine } from "./progress.ts";
import { download, fileSha256 } from "./sources/transfer.ts";

/** Files that can be downloaded by name. */
export interface Pretrained {
  /** What it is. */
  readonly about: string;
  /** Where it stands below the folder of weights, and below a mirror. */
  readonly file: string;
  /** Where it comes from. */
  readonly url: string;
  /** Exact size, or what is known of it where `sized` says about. */
  readonly bytes: number;
  /** Whether `bytes` is exact. */
  readonly exact: boolean;
  /** Hexadecimal, where it is known. */
  readonly sha256?: string;
  /** Under which licence its makers give it away. */
  readonly licence: string;
}

const DIT = "https://dl.fbaipublicfiles.com/DiT/models";
const HUB = "https://huggingface.co";
const VAE_FILE = "diffusion_pytorch_model.safetensors";

/** Published weights by name. */
export const PRETRAINED = {
  "DiT-XL-2-256x256": {
    about: "DiT-XL/2 for ImageNet at 256x256",
    file: "DiT-XL-2-256x256.pt",
    url: `${DIT}/DiT-XL-2-256x256.pt`,
    bytes: 2_700_611_775,
    exact: true,
    sha256: "9ec1876e4c03471bca126663a30e2d1b20610b6d2f87850a39a36f25cc685521",
    licence: "CC-BY-NC-4.0",
  },
  "DiT-XL-2-512x512": {
    about: "DiT-XL/2 for ImageNet at 512x512",
    file: "DiT-XL-2-512x512.pt",
    url: `${DIT}/DiT-XL-2-512x512.pt`,
    bytes: 2_704e6,
    exact: false,
    licence: "CC-BY-NC-4.0",
  },
  "sd-vae-ft-mse": {
    about: "autoencoder, finetuned for squared error (smoother pictures)",
    file: `sd-vae-ft-mse/${VAE_FILE}`,
    url: `${HUB}/stabilityai/sd-vae-ft-mse/resolve/main/${VAE_FILE}`,
    bytes: 335e6,
    exact: false,
    sha256: "a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815",
    licence: "MIT",
  },
  "sd-vae-ft-ema": {
    about: "autoencoder, averaged weights (the one DiT is usually sampled with)",
    file: `sd-vae-ft-ema/${VAE_FILE}`,
    url: `${HUB}/stabilityai/sd-vae-ft-ema/resolve/main/${VAE_FILE}`,
    bytes: 335e6,
    exact: false,
    licence: "MIT",
  },
  "imagenet-classes": {
    about: "what the 1000 classes of ImageNet are called",
    file: "imagenet-classes.json",
    url: `${HUB}/facebook/DiT-XL-2-256/resolve/main/model_index.json`,
    bytes: 32e3,
    exact: false,
    licence: "CC-BY-NC-4.0",
  },
} as const satisfies Record<string, Pretrained>;

/** A name of {@link PRETRAINED}. */
export type PretrainedName = keyof typeof PRETRAINED;

/** The folder that downloads go to, as in the original. */
export const PRETRAINED_FOLDER = "pretrained_models";

/** Names an address to use instead of the makers': a folder with the same files in it. */
export const MIRROR_VARIABLE = "DIT_MIRROR";

/**
 * The file that a name stands for; the file's own name is as good.
 *
 * @throws {CommandError} where there is none, naming those there are.
 */
export function pretrainedName(given: string): PretrainedName {
  const wanted = given.replace(/\.(pt|json|safetensors)$/, "").replaceAll("/", "-").toLowerCase();
  const names = Object.keys(PRETRAINED) as PretrainedName[];
  const found = names.find((name) => name.toLowerCase() === wanted);
  if (found) return found;
  throw new CommandError(
    `expected one of ${names.join(", ")} but got "${given}"${didYouMean(given, names)}`,
  );
}

/** Where a file of {@link PRETRAINED} is kept. */
export function pretrainedPath(name: PretrainedName, folder = PRETRAINED_FOLDER): string {
  return join(folder, ...PRETRAINED[name].file.split("/"));
}

/** Whether a file is there. */
export async function isThere(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** The address to download a file from: the makers', or that of the mirror. */
export function addressOf(name: PretrainedName, mirror?: string): string {
  const { url, file } = PRETRAINED[name];
  return mirror ? `${mirror.replace(/\/+$/, "")}/${file}` : url;
}

/** `2.7 GB`, for people. */
export function sizeText(bytes: number, exact = true): string {
  const units = ["B", "kB", "MB", "GB"];
  let unit = 0;
  for (; bytes >= 1000 && unit < units.length - 1; unit++) bytes /= 1000;
  return `${exact ? "" : "about "}${bytes.toFixed(unit > 2 ? 2 : 0)} ${units[unit]}`;
}

/**
 * Makes sure that a file is there, and downloads it otherwise, saying what and how large.
 *
 * @param check Also checks a file that is there already.
 * @returns Its path.
 * @throws {CommandError} where it cannot be had, saying where to put it by hand.
 */
export async function obtain(
  name: PretrainedName,
  folder: string = PRETRAINED_FOLDER,
  check = false,
): Promise<string> {
  const known: Pretrained = PRETRAINED[name];
  const { bytes, exact, sha256 } = known;
  const path = pretrainedPath(name, folder);
  if (await isThere(path)) {
    if (check) await checkFile(path, known);
    return path;
  }
  const mirror = Deno.env.get(MIRROR_VARIABLE);
  const url = addressOf(name, mirror);
  console.log(`${name}: ${known.about}, ${sizeText(bytes, exact)}, ${known.licence}`);
  console.log(`  from ${url}\n  to   ${path}`);
  using line = new ProgressLine("  ");
  const start = performance.now();
  let first: number | undefined;
  try {
    await download(url, path, {
      ...(exact ? { bytes } : {}),
      // a mirror may hold a version of its own of what nobody has fixed the hash of
      sha256,
      onProgress: (at, total) => {
        first ??= at;
        const seconds = (performance.now() - start) / 1000;
        line.show(at, total, `${sizeText((at - first) / Math.max(seconds, 0.1))}/s`, sizeText);
      },
      onRetry: (reason) => line.note(`${reason}; trying again`),
    });
  } catch (error) {
    line.end();
    throw new CommandError(`${messageOf(error)}\n${byHand(name, path)}`, { cause: error });
  }
  return path;
}

function byHand(name: PretrainedName, path: string): string {
  return `By hand: download ${PRETRAINED[name].url}\nand put it at ${path}, or set ` +
    `${MIRROR_VARIABLE} to an address that has ${PRETRAINED[name].file}`;
}

async function checkFile(path: string, known: Pretrained): Promise<void> {
  const { size } = await Deno.stat(path);
  const wrong = (expected: string, got: string) =>
    new CommandError(`${path}: expected ${expected} but got ${got}; remove it to download it anew`);
  if (known.exact && size !== known.bytes) throw wrong(`${known.bytes} bytes`, `${size}`);
  if (!known.sha256) return;
  const found = await fileSha256(path);
  if (found !== known.sha256) throw wrong(`the SHA-256 ${known.sha256}`, found);
}
