/** The archive that evaluation reads: `FOLDER.npz`, written from finished samples as a stream. */
import { hostTensor, NpzFile, NpzWriter } from "@dit/core/io";
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

/** Classes that are written at a time. */
const LABELS = 1 << 16;

/**
 * Writes `arr_0`, u8 [N, H, W, C], which the ADM suite reads; `arr_1`, i64 [N], the classes; and the
 * text `made_by`. The file appears under its name when it is whole; memory stays that of a few
 * samples.
 *
 * @param onImages Called with how many samples are written.
 */
export async function writeArchive(
  path: string,
  store: SampleStore,
  { count, label, madeBy }: ArchiveContent,
  onImages: (done: number) => void = () => {},
): Promise<void> {
  await using npz = await NpzWriter.create(path);
  let images: ReturnType<NpzWriter["begin"]> | undefined;
  let done = 0;
  for await (const { pixels, size } of store.read(count)) {
    images ??= npz.begin("arr_0", "u8", size);
    await images.write(pixels);
    done += pixels.length / size.reduce((product, d) => product * d, 1);
    onImages(done);
  }
  await images!.end();
  const labels = npz.begin("arr_1", "i64", []);
  for (let first = 0; first < count; first += LABELS) {
    const length = Math.min(LABELS, count - first);
    const some = BigInt64Array.from({ length }, (_, i) => BigInt(label(first + i)));
    await labels.write(hostTensor(some).data);
  }
  await labels.end();
  await npz.text(MADE_BY, madeBy);
  await npz.finish();
}

/** How many samples an archive has, and what they were made by; null where there is none. */
export async function readArchive(path: string): Promise<{ count: number; madeBy: string } | null> {
  let file: NpzFile;
  try {
    file = await NpzFile.open(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
  using npz = file;
  const count = npz.has("arr_0") ? npz.info("arr_0").shape[0] ?? 0 : 0;
  return { count, madeBy: npz.texts.get(MADE_BY) ?? "{}" };
}
