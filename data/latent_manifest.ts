/**
 * A folder of latents: the latents of many images in each of a few files (shards), and manifests
 * that say how they were made and which of them are complete.
 *
 * Shard k holds the latents of images k * shardSize and following. A shard appears whole or not at
 * all, and a manifest names it after that, so extraction can stop anywhere and continue. Each of
 * several processes keeps a manifest of its own: none writes what another one writes. The one that
 * stays when all is done says all of it.
 */
import { writeAtomically } from "@dit/core/io";
import { join } from "@std/path";
import { DataError } from "./errors.ts";
import { exists, listFolder } from "./folder.ts";

/** The autoencoder that latents come from. */
export interface LatentVae {
  /** What people call it, such as `stabilityai/sd-vae-ft-ema`. */
  readonly name: string;
  /** SHA-256 of its weights, as the extracting program defines it: equal for equal weights. */
  readonly sha256: string;
}

/** How latents were made: what must not change while a folder is filled. */
export interface LatentSettings {
  /** Where they come from. */
  readonly vae: LatentVae;
  /** Side of the images, in pixels. */
  readonly imageSize: number;
  /** `[C, H, W]` of one image's latent. */
  readonly latentShape: readonly [number, number, number];
  /** What the model's inputs are: latents times this. Those stored are not multiplied. */
  readonly scalingFactor: number;
  /** Mean and standard deviation of each image's latent, or one sample of it. */
  readonly kind: "distribution" | "sample";
  /** Whether the mirrored images have their own latents beside. */
  readonly flips: boolean;
  /** Element type in the files. */
  readonly dtype: "f16" | "f32";
  /** What each class is called, by its index. */
  readonly classNames: readonly string[];
  /** Images that latents are made of, damaged ones included. */
  readonly count: number;
  /** SHA-256 of the names of the images' files in their order: none may take another's place. */
  readonly files: string;
  /** Side of the tiles that images were encoded in; null for whole images. */
  readonly tile: number | null;
  /** Images a shard. */
  readonly shardSize: number;
}

/** A shard that is complete. */
export interface ShardRecord {
  /** From 0. */
  readonly number: number;
  /** Name in the folder. */
  readonly file: string;
  /** Latents in it: fewer than images where some are damaged. */
  readonly count: number;
  /** Size of the file. */
  readonly bytes: number;
  /** Of the file, in hexadecimal. */
  readonly sha256: string;
}

/** What a manifest file holds. */
export interface LatentManifest {
  /** How the latents are made. */
  readonly settings: LatentSettings;
  /** By number. */
  readonly shards: readonly ShardRecord[];
}

const FORMAT = "dit-latents";
const VERSION = 1;
const MANIFEST_FILE = /^manifest(-\d+-of-\d+)?\.json$/;

/** The manifest that stays. */
export const MANIFEST = "manifest.json";

/** What one of several processes calls its manifest. */
export function manifestOf(rank: number, world: number): string {
  return `manifest-${rank}-of-${world}.json`;
}

/** A tensor of a shard. */
export type LatentPart =
  | "mean"
  | "std"
  | "sample"
  | "mean_flipped"
  | "std_flipped"
  | "sample_flipped";

/** The tensors that a shard has for its images, or for their mirrored selves. */
export function partsOf(kind: LatentSettings["kind"], flipped: boolean): LatentPart[] {
  const plain = kind === "sample" ? ["sample"] as const : ["mean", "std"] as const;
  return flipped ? plain.map((part) => `${part}_flipped` as const) : [...plain];
}

/** All latent tensors that a shard has. */
export function allParts({ kind, flips }: LatentSettings): LatentPart[] {
  return [...partsOf(kind, false), ...(flips ? partsOf(kind, true) : [])];
}

/** How many shards there are when all is done. */
export function shardCount({ count, shardSize }: LatentSettings): number {
  return Math.ceil(count / shardSize);
}

/** The name of a shard's file. */
export function shardFile(number: number): string {
  return `shard-${String(number).padStart(5, "0")}.safetensors`;
}

/**
 * Writes a process's manifest.
 *
 * @throws {DataError} If a file of another program has its name.
 */
export async function saveManifest(
  folder: string,
  file: string,
  { settings, shards }: LatentManifest,
): Promise<void> {
  const text = JSON.stringify({ format: FORMAT, version: VERSION, settings, shards }, null, 2);
  const bytes = new TextEncoder().encode(text + "\n");
  const path = join(folder, file);
  if (await exists(path) && !(await Deno.readTextFile(path)).includes(`"${FORMAT}"`)) {
    throw new DataError(`${path}: expected a manifest of latents but found another program's file`);
  }
  await writeAtomically(path, (sink) => sink.writeAt(0, bytes));
}

/** Removes the manifests of several processes, whose shards the one that stays names. */
export async function removeOtherManifests(folder: string): Promise<void> {
  for (const { path } of await manifestsIn(folder)) {
    if (path !== join(folder, MANIFEST)) await Deno.remove(path);
  }
}

/**
 * What all manifests of a folder say together, or undefined where there is none. A `manifest.json` of
 * another program is none.
 *
 * @throws {DataError} If one is damaged or of another version, or two are of different settings.
 */
export async function loadManifest(folder: string): Promise<LatentManifest | undefined> {
  if (!await exists(folder)) return undefined;
  let settings: LatentSettings | undefined;
  const shards = new Map<number, ShardRecord>();
  for (const { path, text } of await manifestsIn(folder)) {
    const manifest = parseManifest(path, text);
    if (settings !== undefined) requireSame(path, manifest.settings, settings);
    settings ??= manifest.settings;
    for (const shard of manifest.shards) shards.set(shard.number, shard);
  }
  if (settings === undefined) return undefined;
  return { settings, shards: [...shards.values()].sort((a, b) => a.number - b.number) };
}

/** The files of a folder that are manifests, and not another program's, with their text. */
async function manifestsIn(folder: string): Promise<{ path: string; text: string }[]> {
  const { files } = await listFolder(folder);
  const found: { path: string; text: string }[] = [];
  for (const file of files.filter((name) => MANIFEST_FILE.test(name)).sort()) {
    const path = join(folder, file);
    const text = await Deno.readTextFile(path);
    if (text.includes(`"${FORMAT}"`)) found.push({ path, text });
  }
  return found;
}

/**
 * Checks that what a folder holds was made with the settings that are wanted.
 *
 * @throws {DataError} Naming the first setting that differs.
 */
export function requireSame(path: string, found: LatentSettings, wanted: LatentSettings): void {
  for (const key of Object.keys(wanted) as (keyof LatentSettings)[]) {
    const [has, wants] = [found[key], wanted[key]].map((value) => JSON.stringify(sorted(value)));
    if (has !== wants) {
      throw new DataError(
        `${path}: expected latents made with ${key} ${brief(wants)} but found ${brief(has)}; ` +
          "take another folder, or delete this one",
      );
    }
  }
}

function brief(json = "nothing"): string {
  return json.length > 120 ? `${json.slice(0, 117)}...` : json;
}

/** The same with the keys of an object in order. */
function sorted(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1));
}

type Check = (value: unknown) => boolean;
const isText: Check = (value) => typeof value === "string";
const isCount: Check = (value) => Number.isSafeInteger(value) && value as number >= 0;
const isSize: Check = (value) => isCount(value) && value !== 0;
const listOf = (check: Check): Check => (value) => Array.isArray(value) && value.every(check);
const oneOf = (...values: unknown[]): Check => (value) => values.includes(value);
const fits = (checks: Readonly<Record<string, Check>>): Check => (value) =>
  typeof value === "object" && value !== null &&
  Object.entries(checks).every(([key, check]) => check((value as Record<string, unknown>)[key]));

const SETTINGS = {
  vae: fits({ name: isText, sha256: isText }),
  imageSize: isSize,
  latentShape: (value) => listOf(isSize)(value) && (value as number[]).length === 3,
  scalingFactor: (value) => typeof value === "number" && value > 0,
  kind: oneOf("distribution", "sample"),
  flips: oneOf(true, false),
  dtype: oneOf("f16", "f32"),
  classNames: listOf(isText),
  count: isSize,
  files: isText,
  tile: (value) => value === null || isSize(value),
  shardSize: isSize,
} satisfies Record<keyof LatentSettings, Check>;

const SHARD = {
  number: isCount,
  file: (value) => isText(value) && !/[/\\]/.test(value as string),
  count: isCount,
  bytes: isSize,
  sha256: isText,
} satisfies Record<keyof ShardRecord, Check>;

/**
 * Checks settings that come from elsewhere.
 *
 * @throws {DataError} Naming the first that is missing or makes no sense.
 */
export function checkSettings(path: string, settings: unknown): asserts settings is LatentSettings {
  const values = (settings ?? {}) as Record<string, unknown>;
  for (const [key, check] of Object.entries(SETTINGS)) {
    if (!check(values[key])) {
      const found = brief(JSON.stringify(values[key]));
      throw new DataError(`${path}: expected a sensible setting ${key} but found ${found}`);
    }
  }
}

function parseManifest(path: string, text: string): LatentManifest {
  let json: Record<string, unknown>;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new DataError(`${path}: expected a manifest of latents but found no JSON`, {
      cause: error,
    });
  }
  if (json?.["format"] !== FORMAT || json["version"] !== VERSION) {
    const found = brief(JSON.stringify([json?.["format"], json?.["version"]]));
    throw new DataError(
      `${path}: expected format ${FORMAT}, version ${VERSION} but found ${found}`,
    );
  }
  const { settings, shards } = json;
  checkSettings(path, settings);
  if (!listOf(fits(SHARD))(shards)) {
    throw new DataError(`${path}: expected a list of complete shards but found something else`);
  }
  return { settings, shards: shards as ShardRecord[] };
}
