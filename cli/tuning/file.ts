/** Measured plans of a GPU as a file. */
import type { KernelPlans } from "@dit/core/tensor";
import { messageOf } from "../shared/errors.ts";
import { makeFolder, writeWhole } from "../shared/files.ts";
import { tuneFile } from "./folder.ts";

/** What such files say that they are. */
const FORMAT = "dit tune";
/** Version of the layout, and of what the kernels make of it; files of others are not read. */
const VERSION = 1;

/** What a file says, or why it says nothing. */
export type ReadPlans =
  | { readonly kind: "none" }
  | { readonly kind: "plans"; readonly plans: unknown }
  | { readonly kind: "damaged"; readonly reason: string };

/** The plans of a GPU, as they stand in its file, unchecked. */
export async function readTuneFile(folder: string, adapter: string): Promise<ReadPlans> {
  try {
    const file: unknown = JSON.parse(await Deno.readTextFile(tuneFile(folder, adapter)));
    const { format, version, plans } = (file ?? {}) as Readonly<Record<string, unknown>>;
    if (format !== FORMAT) return damaged(`expected the format "${FORMAT}"`);
    if (version !== VERSION) return damaged(`expected version ${VERSION} but got ${version}`);
    return { kind: "plans", plans };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return { kind: "none" };
    return damaged(messageOf(error));
  }
}

function damaged(reason: string): ReadPlans {
  return { kind: "damaged", reason };
}

/**
 * Keeps the plans of a GPU.
 *
 * @returns The path of the file.
 * @throws {CommandError} where it cannot be written.
 */
export async function writeTuneFile(
  folder: string,
  adapter: string,
  plans: KernelPlans,
): Promise<string> {
  const path = tuneFile(folder, adapter);
  await makeFolder(folder);
  const file = { format: FORMAT, version: VERSION, adapter, plans };
  await writeWhole(path, `${JSON.stringify(file, null, 1)}\n`);
  return path;
}
