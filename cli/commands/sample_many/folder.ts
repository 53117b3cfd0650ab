/** The folder of samples: begun, gone on with, or finished; the same for all ranks. */
import { basename, dirname, join } from "@std/path";
import { fromRankZero, requireSharedFolder } from "../../distributed/share.ts";
import type { World } from "../../distributed/world.ts";
import { CommandError } from "../../shared/errors.ts";
import {
  exists,
  makeFolder,
  prepareFolder,
  removeTemporaries,
  writeWhole,
} from "../../shared/files.ts";
import { readArchive } from "./archive.ts";
import { recordText, requireSameRecord, type SampleRecord } from "./record.ts";
import type { SampleStore } from "./store.ts";
import { fromBits, toBits } from "./work.ts";

/** What says in a folder what its samples were made by. */
const RECORD_FILE = "made_by.json";

/** Minutes after which nobody is writing a file any more: two jobs may fill one folder. */
const ABANDONED = 60;

/** A folder and what is to be in it. */
export interface SampleFolder {
  readonly folder: string;
  /** The archive beside it. */
  readonly archive: string;
  readonly store: SampleStore;
  /** How many samples. */
  readonly count: number;
  readonly record: SampleRecord;
}

/**
 * Begins a folder or goes on with it: rank 0 looks at what is there and tells the others. Collective.
 *
 * @returns Which samples are there; null where the archive of all of them is.
 * @throws {CommandError} where they were made otherwise, or a rank does not see the folder.
 */
export async function shareFolder(world: World, wanted: SampleFolder): Promise<boolean[] | null> {
  await requireSharedFolder(world, "--sample-dir", dirname(wanted.folder));
  const bits = await fromRankZero(world, async () => {
    const isThere = await openFolder(wanted);
    return isThere && toBits(isThere).toBase64();
  });
  return bits === null ? null : fromBits(Uint8Array.fromBase64(bits), wanted.count);
}

async function openFolder(
  { folder, archive, store, count, record }: SampleFolder,
): Promise<boolean[] | null> {
  const { settings } = record;
  await makeFolder(dirname(folder), "--sample-dir"); // where a file is, nothing else can be looked at
  const done = await readArchive(archive);
  if (done !== null) {
    requireSameRecord(done.madeBy, settings, archive);
    if (done.count === count) {
      if (await exists(folder)) await store.clear(count); // it may have been ended just before
      return null;
    }
    if (done.count > count) {
      throw new CommandError(
        `${archive}: has ${done.count} samples already, the first ${count} of which are those asked ` +
          "for; leave --num-fid-samples as it was, or give another --sample-dir",
      );
    }
    if (!settings.png) {
      throw new CommandError(
        `${archive}: expected ${count} samples but it has ${done.count}, and without PNG files ` +
          "none can be added; remove it, or give another --sample-dir",
      );
    }
  }
  await prepareFolder(folder, "--sample-dir");
  const path = join(folder, RECORD_FILE);
  const stored = await Deno.readTextFile(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  });
  const isThere = await store.present(count);
  if (stored !== null) {
    requireSameRecord(stored, settings, path);
  } else {
    if (isThere.includes(true)) {
      throw new CommandError(
        `${folder}: expected ${RECORD_FILE} beside samples but found none, so what they were made ` +
          "by is not known; move them away, or give another --sample-dir",
      );
    }
    await writeWhole(path, recordText(record));
  }
  await removeTemporaries(folder, { minutes: ABANDONED });
  await removeTemporaries(dirname(archive), { of: basename(archive), minutes: ABANDONED });
  return isThere;
}
