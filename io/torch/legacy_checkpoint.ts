import { FormatError, quote } from "../errors.ts";
import { HOST_DTYPE_BYTES } from "../../tensor/mod.ts";
import { type RandomAccess, readRange } from "../source.ts";
import { type Checkpoint, MAX_PICKLE_BYTES } from "./checkpoint.ts";
import type { ForeignBlock } from "./builder.ts";
import { TruncatedError } from "./cursor.ts";
import { readPickle, type Unpickled } from "./pickle_reader.ts";

/** The number that begins a file of the format, as PyTorch's `serialization.py` has it. */
const MAGIC = 0x1950a86a20f9469cfc6cn;
const PROTOCOL = 1001;

/** Pickles of models take kilobytes; the storages behind them are not read before they are asked for. */
const FIRST_WINDOW_BYTES = 2 ** 18;

/**
 * Opens the format of PyTorch before 1.6: five pickles (magic number, protocol, machine, value, keys of
 * the storages), then each storage as its number of elements (i64) and its bytes.
 */
export async function openLegacyCheckpoint(source: RandomAccess): Promise<Checkpoint> {
  const file = source.name;
  const [machine, content, keys] = await readPickles(source);
  const little = machine.value instanceof Map ? machine.value.get("little_endian") : undefined;
  if (little !== true) {
    throw new FormatError(
      file,
      "pickle 3 (machine)",
      "little_endian to be true",
      String(little),
    );
  }
  const offsets = new Map<string, number>();
  let at = keys.end;
  for (const key of Array.isArray(keys.value) ? keys.value : [null]) {
    const block = typeof key === "string" ? blockOf(content, key) : undefined;
    if (typeof key !== "string" || block?.itemBytes === undefined || offsets.has(key)) {
      throw new FormatError(
        file,
        "pickle 5 (storage keys)",
        "a list of the keys of the value's storages",
        typeof key === "string" ? `the key ${quote(key)}` : "something else",
      );
    }
    const stored = new DataView((await readRange(source, at, 8)).buffer).getBigInt64(0, true);
    if (stored !== BigInt(block.count)) {
      throw new FormatError(
        file,
        `storage ${key} at byte ${at}`,
        `${block.count} elements`,
        `${stored}`,
      );
    }
    offsets.set(key, at + 8);
    at += 8 + block.count * block.itemBytes;
  }
  const count = content.storages.size + content.foreign.size;
  if (offsets.size !== count || at !== source.size) {
    throw new FormatError(
      file,
      `byte ${at}`,
      `${count} storages that fill the file`,
      `${offsets.size} in a file of ${source.size} bytes`,
    );
  }
  return {
    value: content.value,
    readInto: ({ key }, target, start) => source.readInto(offsets.get(key)! + start, target),
  };
}

/** The size of a storage; undefined where the value has none of that key. */
function blockOf(content: Unpickled, key: string): ForeignBlock | undefined {
  const storage = content.storages.get(key);
  if (storage === undefined) return content.foreign.get(key);
  return { count: storage.count, itemBytes: HOST_DTYPE_BYTES[storage.dtype] };
}

/** Reads the pickles at the start of the file, as much of the file as they take. */
async function readPickles(
  source: RandomAccess,
): Promise<[machine: Unpickled, content: Unpickled, keys: Unpickled]> {
  const most = Math.min(source.size, MAX_PICKLE_BYTES);
  for (let size = Math.min(most, FIRST_WINDOW_BYTES);; size = Math.min(most, 8 * size)) {
    const bytes = await readRange(source, 0, size);
    try {
      return parsePickles(bytes, source.name);
    } catch (error) {
      if (!(error instanceof TruncatedError) || size === most) throw error;
    }
  }
}

function parsePickles(bytes: Uint8Array, file: string): [Unpickled, Unpickled, Unpickled] {
  const magic = readPickle(bytes, file, "pickle 1 (magic number)");
  if (magic.value !== MAGIC) {
    throw new FormatError(file, "pickle 1", "PyTorch's magic number", "another value");
  }
  const protocol = readPickle(bytes, file, "pickle 2 (protocol)", magic.end);
  if (protocol.value !== PROTOCOL) {
    throw new FormatError(file, "pickle 2", `protocol ${PROTOCOL}`, "another value");
  }
  const machine = readPickle(bytes, file, "pickle 3 (machine)", protocol.end);
  const content = readPickle(bytes, file, "pickle 4 (value)", machine.end);
  const keys = readPickle(bytes, file, "pickle 5 (storage keys)", content.end);
  return [machine, content, keys];
}
