import { FormatError, quote } from "../errors.ts";
import { HOST_DTYPE_BYTES } from "../../tensor/mod.ts";
import type { RandomAccess } from "../source.ts";
import type { ZipEntry } from "../zip/directory.ts";
import { ZipReader } from "../zip/reader.ts";
import { type Checkpoint, MAX_PICKLE_BYTES } from "./checkpoint.ts";
import { readPickle } from "./pickle_reader.ts";

/**
 * Opens the format of PyTorch 1.6 and later: a zip archive with the pickle in `NAME/data.pkl` and
 * each storage in `NAME/data/KEY`. Every storage the pickle refers to must be there, whole.
 */
export async function openZipCheckpoint(source: RandomAccess): Promise<Checkpoint> {
  const file = source.name;
  const zip = await ZipReader.open(source);
  const pickles = [...zip.entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  if (pickles.length !== 1) {
    throw new FormatError(
      file,
      "zip directory",
      "one entry NAME/data.pkl",
      pickles.length === 0 ? "none: this is no PyTorch checkpoint" : pickles.join(", "),
    );
  }
  const pickleName = pickles[0]!;
  const folder = pickleName.slice(0, -"data.pkl".length);
  const byteOrder = zip.entries.get(folder + "byteorder");
  if (byteOrder) {
    const order = new TextDecoder().decode(await zip.read(byteOrder, 16));
    if (order.trim() !== "little") {
      throw new FormatError(
        file,
        `entry ${quote(byteOrder.name)}`,
        '"little", the byte order of all current machines',
        quote(order),
      );
    }
  }
  const pickle = await zip.read(zip.entries.get(pickleName)!, MAX_PICKLE_BYTES);
  const { value, storages, end } = readPickle(pickle, file, pickleName);
  if (end !== pickle.byteLength) {
    throw new FormatError(
      file,
      `${pickleName}, byte ${end}`,
      "the end of the pickle",
      `${pickle.byteLength - end} more bytes`,
    );
  }
  const entries = new Map<string, ZipEntry>();
  for (const { key, dtype, count } of storages.values()) {
    const name = `${folder}data/${key}`;
    const entry = zip.entries.get(name);
    const bytes = count * HOST_DTYPE_BYTES[dtype];
    if (entry?.size !== bytes) {
      throw new FormatError(
        file,
        `entry ${quote(name)}`,
        `${bytes} bytes for ${count} elements of ${dtype}`,
        entry ? `${entry.size}` : "no such entry",
      );
    }
    entries.set(key, entry);
  }
  return {
    value,
    readInto: ({ key }, target, start) => zip.readInto(entries.get(key)!, target, start),
  };
}
