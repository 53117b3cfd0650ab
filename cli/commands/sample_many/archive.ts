/** The archive that evaluation reads, `FOLDER.npz`: written from finished samples, and looked into. */
import { NpzFile } from "@dit/core/io";
import { SampleArchive } from "../../shared/sample_archive.ts";
import { CommandError, messageOf } from "../../shared/errors.ts";
import type { SampleStore } from "./store.ts";

/** Name of the text that says what samples were made by. */
const MADE_BY = "made_by";

/** What is in an archive. */
export interface ArchiveContent {
  /** How many samples. */
  readonly count: number;
  /** The class of a sample. */
  readonly label: (number: number) => number;
  /** What they were made by. */
  readonly madeBy: string;
}

/**
 * Writes all samples of a store, with what they were made by as the text `made_by`.
 *
 * @param onImages Called with how many samples are written.
 */
export async function writeArchive(
  path: string,
  store: SampleStore,
  { count, label, madeBy }: ArchiveContent,
  onImages: (done: number) => void = () => {},
): Promise<void> {
  await using archive = await SampleArchive.create(path);
  for await (const images of store.read(count)) {
    await archive.write(images);
    onImages(archive.count);
  }
  await archive.finish(label, { [MADE_BY]: madeBy });
}

/** How many samples an archive has, and what they were made by; null where there is none. */
export async function readArchive(path: string): Promise<{ count: number; madeBy: string } | null> {
  let file: NpzFile;
  try {
    file = await NpzFile.open(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw new CommandError(
      `${messageOf(error)}; remove the file, and start the same command again`,
      { cause: error },
    );
  }
  using npz = file;
  const count = npz.has("arr_0") ? npz.info("arr_0").shape[0] ?? 0 : 0;
  return { count, madeBy: npz.texts.get(MADE_BY) ?? "{}" };
}
