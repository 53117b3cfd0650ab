/** The kind of data that `--data` names, by what its folder holds. */
import { hasNpyFeatures, type LatentManifest, listFolder, loadManifest } from "@dit/data";
import { CommandError } from "./errors.ts";
import { exists } from "./files.ts";
import { NAMED_DATA, type NamedData, namedData, namesOr } from "./named_data.ts";

/** What was recognised. */
export type DataKind =
  /** Data with a name, fetched or in a folder. */
  | {
    readonly kind: "named";
    readonly name: string;
    readonly named: NamedData;
    readonly folder?: string;
  }
  /** Latents in shards, which say how they were made. */
  | { readonly kind: "shards"; readonly manifest: LatentManifest }
  /** Latents as the original lays them out. */
  | { readonly kind: "npy" }
  /** Anything else. */
  | { readonly kind: "images" };

/**
 * Recognises data by their name or by what is in their folder; nothing else is opened.
 *
 * @param what What is named, for the message.
 * @throws {CommandError} where there is nothing.
 */
export async function dataKind(data: string, what = "--data"): Promise<DataKind> {
  const byName = namedData(data);
  if (byName) return { kind: "named", name: data, named: byName };
  if (!await exists(data)) {
    throw new CommandError(
      `${what} ${data}: expected ${namesOr("a folder")} but found nothing there`,
    );
  }
  return await folderKind(data);
}

/**
 * Recognises what a folder holds.
 *
 * @throws {DataError} where there is no such folder, or a manifest of latents is damaged.
 */
export async function folderKind(folder: string): Promise<DataKind> {
  const { files } = await listFolder(folder, { expected: "a folder of images" });
  for (const [name, named] of Object.entries(NAMED_DATA)) {
    if (files.some((file) => named.files?.test(file))) {
      return { kind: "named", name, named, folder };
    }
  }
  // a class may be called `..._features`, and the manifest.json be another program's
  if (await hasNpyFeatures(folder)) return { kind: "npy" };
  const manifest = await loadManifest(folder);
  return manifest ? { kind: "shards", manifest } : { kind: "images" };
}
