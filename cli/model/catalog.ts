/** The published weights: what there is, where it is, and which hosts that takes. */
import { join } from "@std/path";
import { CommandError, didYouMean } from "../shared/errors.ts";

/** The name that diffusers gives a file of weights; published autoencoders have it too. */
export const DIFFUSERS_FILE = "diffusion_pytorch_model.safetensors";

/** Files that can be downloaded by name. */
export interface Pretrained {
  /** What it is. */
  readonly about: string;
  /** Where it stands below the folder of weights, and below a mirror. */
  readonly file: string;
  /** Where it comes from. */
  readonly url: string;
  /** Exact size, or what is known of it where `exact` is false. */
  readonly bytes: number;
  /** Whether `bytes` is exact. */
  readonly exact: boolean;
  /** Hexadecimal, where it is known; its first digits only, where a release tells no more. */
  readonly sha256?: string;
  /** Under which licence its makers give it away. */
  readonly licence: string;
}

const DIT = "https://dl.fbaipublicfiles.com/DiT/models";
const HUB = "https://huggingface.co";
const GITHUB = "https://github.com";

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
    about: "autoencoder, finetuned for squared error (the one DiT is usually sampled with)",
    file: `sd-vae-ft-mse/${DIFFUSERS_FILE}`,
    url: `${HUB}/stabilityai/sd-vae-ft-mse/resolve/main/${DIFFUSERS_FILE}`,
    bytes: 335e6,
    exact: false,
    sha256: "a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815",
    licence: "MIT",
  },
  "sd-vae-ft-ema": {
    about: "autoencoder, averaged weights (the one DiT is usually trained with)",
    file: `sd-vae-ft-ema/${DIFFUSERS_FILE}`,
    url: `${HUB}/stabilityai/sd-vae-ft-ema/resolve/main/${DIFFUSERS_FILE}`,
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
  // a name of torch.hub's kind: the digits at its end are the first of the file's SHA-256
  "inception": {
    about: "Inception-v3 of 2015, whose features FID is measured in (deno task evaluate)",
    file: "pt_inception-2015-12-05-6726825d.pth",
    url: `${GITHUB}/mseitzer/pytorch-fid/releases/download/fid_weights/` +
      "pt_inception-2015-12-05-6726825d.pth",
    bytes: 95.6e6,
    exact: false,
    sha256: "6726825d",
    licence: "Apache-2.0",
  },
} as const satisfies Record<string, Pretrained>;

/** A name of {@link PRETRAINED}. */
export type PretrainedName = keyof typeof PRETRAINED;

/** Pictures that can be made a folder of, which has their name: what they are, and what comes over npm. */
export const PICTURES = {
  "emoji": {
    about: "7,677 pictures in 85 classes, as --data emoji has them (four sets; SOURCES.md)",
    size: "about 6.5 MB",
  },
  "emoji-3d": {
    about: "1,854 pictures in 9 classes to train on (Fluent emoji, MIT)",
    size: "about 50 MB",
  },
} as const;

/** A name of {@link PICTURES}. */
export type PicturesName = keyof typeof PICTURES;

/** Whether a name is one of {@link PICTURES}. */
export function isPictures(name: string): name is PicturesName {
  return Object.hasOwn(PICTURES, name);
}

/** The folder that downloads go to, as in the original. */
export const PRETRAINED_FOLDER = "pretrained_models";

/** Names the address of a folder with the same files in it, to use instead of the makers'. */
export const MIRROR_VARIABLE = "DIT_MIRROR";

/**
 * The file that a name stands for; the file's own name is as good.
 *
 * @throws {CommandError} where there is none, naming those there are.
 */
export function pretrainedName(given: string): PretrainedName {
  const wanted = given.replace(/\.(pth?|json|safetensors)$/, "").replaceAll("/", "-").toLowerCase();
  const names = Object.keys(PRETRAINED) as PretrainedName[];
  const found = names.find((name) => name.toLowerCase() === wanted);
  if (found) return found;
  const all = [...names, ...Object.keys(PICTURES)];
  throw new CommandError(
    `expected one of ${all.join(", ")} but got "${given}"${didYouMean(given, all)}`,
  );
}

/** Where a file of {@link PRETRAINED} is kept. */
export function pretrainedPath(name: PretrainedName, folder = PRETRAINED_FOLDER): string {
  return join(folder, ...PRETRAINED[name].file.split("/"));
}

/** The address to download a file from: the makers', or that of the mirror. */
export function addressOf(name: PretrainedName, mirror?: string): string {
  const { url, file } = PRETRAINED[name];
  return mirror ? `${mirror.replace(/\/+$/, "")}/${file}` : url;
}

/**
 * The hosts that downloads come from, those that the makers' sites send on to included.
 *
 * @throws {CommandError} where the mirror is no address.
 */
export function pretrainedHosts(mirror?: string): string[] {
  if (!mirror) {
    return [
      new URL(DIT).host,
      new URL(HUB).host,
      `*.${new URL(HUB).host}`,
      "*.hf.co",
      new URL(GITHUB).host,
      "*.githubusercontent.com",
    ];
  }
  if (/^https?:/.test(mirror) && URL.canParse(mirror)) return [new URL(mirror).host];
  throw new CommandError(`${MIRROR_VARIABLE}: expected http(s)://... but got "${mirror}"`);
}
