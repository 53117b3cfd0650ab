/** Named tensors that are read one at a time, wherever they are. */
import { FormatError, quote } from "./errors.ts";
import { byteCount, type HostTensor, tensorInfo, type TensorSource } from "../tensor/mod.ts";
import { fetchTensor, type SavableTensor } from "./savable.ts";

/** A source with an open file behind it. */
export interface WeightFile extends TensorSource, Disposable {
  /** Closes the file behind it; reading fails from then on. */
  close(): void;
}

/** Implements `read` by `readInto`. */
export async function readWhole(source: TensorSource, key: string): Promise<HostTensor> {
  const info = source.info(key);
  const data = new Uint8Array(byteCount(info));
  await source.readInto(key, data);
  return { dtype: info.dtype, shape: [...info.shape], data };
}

/** Every tensor of `source` at once. Nothing is returned if one of them cannot be read. */
export async function readAll(source: TensorSource): Promise<Map<string, HostTensor>> {
  const all = new Map<string, HostTensor>();
  for (const key of source.keys()) all.set(key, await source.read(key));
  return all;
}

/**
 * Tensors by name as a source. Those in memory are handed out as they are, without a copy; those
 * elsewhere are fetched when they are read.
 */
export function mapSource(
  tensors: ReadonlyMap<string, SavableTensor>,
  name = "(memory)",
): TensorSource {
  const get = (key: string): SavableTensor => tensors.get(key) ?? missing(name, key);
  return {
    name,
    keys: () => [...tensors.keys()],
    has: (key) => tensors.has(key),
    info: (key) => tensorInfo(get(key)),
    read: async (key) => await fetchTensor(get(key)),
    readInto: async (key, target, start = 0) => {
      const { data } = await fetchTensor(get(key));
      checkWindow(name, key, data.byteLength, start, target.byteLength);
      target.set(data.subarray(start, start + target.byteLength));
    },
  };
}

/** A map of tensors as a source; a source as it is. */
export function asSource(
  tensors: ReadonlyMap<string, SavableTensor> | TensorSource,
): TensorSource {
  return tensors instanceof Map ? mapSource(tensors) : tensors as TensorSource;
}

/** Throws the error for a tensor that is not there. */
export function missing(name: string, key: string): never {
  throw new FormatError(name, `tensor ${quote(key)}`, "a tensor of that name", "none");
}

/** Throws unless bytes [start, start + length) lie in a tensor of `bytes` bytes. */
export function checkWindow(
  name: string,
  key: string,
  bytes: number,
  start: number,
  length: number,
): void {
  if (start < 0 || start + length > bytes) {
    throw new FormatError(
      name,
      `tensor ${quote(key)}`,
      `a range inside its ${bytes} bytes`,
      `bytes ${start} to ${start + length}`,
    );
  }
}
