import { FormatError } from "../errors.ts";
import { writeAtomically } from "../file.ts";
import { byteCount, infoText, type TensorSource } from "../../tensor/mod.ts";
import { fetchTensor, type LazyTensor, type SavableTensor } from "../savable.ts";
import type { ByteSink } from "../source.ts";
import { ZipWriter } from "../zip/writer.ts";
import { writePickle } from "./pickle_writer.ts";
import type { TorchValue } from "./values.ts";

/** Where PyTorch's own writer begins each storage. */
const STORAGE_ALIGNMENT = 64;

/**
 * Writes a checkpoint that PyTorch (1.6 and later) reads, atomically.
 *
 * @param path Replaced only when the new file is complete.
 * @param value A state dict as a Map of tensors, or any nesting of values. Tensors may be on the host,
 * on a device or in a file; each is fetched when its turn comes.
 * @throws {TypeError} If a part has no counterpart in PyTorch.
 */
export async function saveTorch(
  path: string,
  value: TorchValue<SavableTensor>,
): Promise<void> {
  await writeAtomically(path, (sink) => writeTorch(sink, value));
}

/** Writes a checkpoint in PyTorch's zip format to any sink. */
export async function writeTorch(
  sink: ByteSink,
  value: TorchValue<SavableTensor>,
): Promise<void> {
  const { bytes, tensors } = writePickle(value);
  const zip = new ZipWriter(sink);
  await zip.add("archive/data.pkl", bytes, STORAGE_ALIGNMENT);
  for (const [key, tensor] of tensors.entries()) {
    const { data } = await fetchTensor(tensor);
    if (data.byteLength !== byteCount(tensor)) {
      throw new FormatError(
        sink.name,
        `storage ${key}`,
        `${byteCount(tensor)} bytes for ${infoText(tensor)}`,
        `${data.byteLength}`,
      );
    }
    await zip.add(`archive/data/${key}`, data, STORAGE_ALIGNMENT);
  }
  await zip.add("archive/version", new TextEncoder().encode("3\n"), STORAGE_ALIGNMENT);
  await zip.finish();
}

/** A source's tensors as a dict for {@linkcode saveTorch}, each read when its turn comes. */
export function lazyStateDict(source: TensorSource): Map<string, LazyTensor> {
  return new Map(
    source.keys().map((key) => {
      const { dtype, shape } = source.info(key);
      return [key, { dtype, shape, read: () => source.read(key) }];
    }),
  );
}
