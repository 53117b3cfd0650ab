/**
 * The header of a safetensors file: 8 bytes of length (u64, little-endian), then JSON that maps
 * each name to `{ dtype, shape, data_offsets: [begin, end] }`, offsets counted from the end of the
 * header. The rules are those of the format's own parser: offsets cover the data without gaps or
 * overlaps, sizes agree with shapes, and no name occurs twice.
 */
import { FormatError, quote } from "../errors.ts";
import {
  byteCount,
  elementCount,
  type HostDType,
  infoText,
  type TensorInfo,
} from "../../tensor/mod.ts";
import { foreignText } from "../foreign.ts";
import { type RandomAccess, readRange } from "../source.ts";
import { findRepeatedKey } from "./json_keys.ts";

/** The format's own limit on the JSON, in bytes. */
export const MAX_HEADER_BYTES = 100_000_000;

/** What the JSON begins with, as the format asks: `{`. */
const BRACE = 0x7b;

/** Element types by their names in the file. */
export const SAFETENSORS_DTYPES: Readonly<Record<string, HostDType>> = {
  F64: "f64",
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
  F8_E4M3: "f8e4m3",
  F8_E5M2: "f8e5m2",
  I64: "i64",
  I32: "i32",
  I16: "i16",
  I8: "i8",
  U64: "u64",
  U32: "u32",
  U16: "u16",
  U8: "u8",
  BOOL: "bool",
};

/** A tensor and where its bytes begin in the file. */
export interface PlacedTensor extends TensorInfo {
  /** Bytes from the start of the file. */
  readonly offset: number;
}

/** A checked header. */
export interface SafetensorsHeader {
  /** By name, in the order of the data. */
  readonly tensors: ReadonlyMap<string, PlacedTensor>;
  readonly metadata: ReadonlyMap<string, string>;
}

/** Reads and checks the header of `source`. */
export async function readHeader(source: RandomAccess): Promise<SafetensorsHeader> {
  const file = source.name;
  if (source.size < 8) {
    throw new FormatError(file, "byte 0", "a safetensors file", await foreignText(source));
  }
  const prefix = new DataView((await readRange(source, 0, 8)).buffer);
  const length = Number(prefix.getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES || length > source.size - 8) {
    if (source.size > 8 && (await readRange(source, 8, 1))[0] !== BRACE) {
      throw new FormatError(file, "byte 0", "a safetensors file", await foreignText(source));
    }
    throw new FormatError(
      file,
      "byte 0",
      `a header of at most ${Math.min(MAX_HEADER_BYTES, source.size - 8)} bytes`,
      `a length of ${length}`,
    );
  }
  const entries = parseJson(file, await readRange(source, 8, length));
  const metadata = readMetadata(file, entries.get("__metadata__"));
  entries.delete("__metadata__");
  const dataStart = 8 + length;
  const placed = [...entries].map(([name, entry]) => readEntry(file, name, entry, dataStart));
  // Empty tensors share an offset with their successor, so order by end as well.
  placed.sort(([, a], [, b]) => a.offset - b.offset || byteCount(a) - byteCount(b));
  let end = dataStart;
  for (const [name, tensor] of placed) {
    if (tensor.offset !== end) {
      throw new FormatError(
        file,
        `tensor ${quote(name)}`,
        `data to begin at byte ${end}, where the tensor before it ends`,
        `byte ${tensor.offset}`,
      );
    }
    end += byteCount(tensor);
  }
  if (end !== source.size) {
    throw new FormatError(
      file,
      `byte ${end}`,
      `a file of ${end} bytes, as its header says`,
      `${source.size} bytes`,
    );
  }
  return { tensors: new Map(placed), metadata };
}

function parseJson(file: string, bytes: Uint8Array): Map<string, unknown> {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text);
  } catch (error) {
    throw new FormatError(file, "byte 8", "a header of JSON", (error as Error).message);
  }
  if (!isRecord(value) || text[0] !== "{") {
    throw new FormatError(file, "byte 8", "a header that is a JSON object", quote(text));
  }
  const repeated = findRepeatedKey(text);
  if (repeated) {
    throw new FormatError(
      file,
      `header, character ${repeated.offset}`,
      "every name once",
      `${quote(repeated.key)} again`,
    );
  }
  return new Map(Object.entries(value));
}

function readMetadata(file: string, value: unknown): Map<string, string> {
  if (value === undefined) return new Map();
  const metadata = new Map<string, string>();
  if (isRecord(value)) {
    for (const [key, text] of Object.entries(value)) {
      if (typeof text === "string") metadata.set(key, text);
    }
    if (metadata.size === Object.keys(value).length) return metadata;
  }
  throw new FormatError(file, "__metadata__", "text under every key", quote(JSON.stringify(value)));
}

function readEntry(
  file: string,
  name: string,
  entry: unknown,
  dataStart: number,
): [string, PlacedTensor] {
  const fail = (expected: string, found: unknown): never => {
    throw new FormatError(
      file,
      `tensor ${quote(name)}`,
      expected,
      quote(JSON.stringify(found) ?? "nothing"),
    );
  };
  if (!isRecord(entry)) return fail("an object with dtype, shape and data_offsets", entry);
  const code = entry.dtype;
  const dtype = typeof code === "string" && Object.hasOwn(SAFETENSORS_DTYPES, code)
    ? SAFETENSORS_DTYPES[code]!
    : fail(`a dtype out of ${Object.keys(SAFETENSORS_DTYPES).join(", ")}`, code);
  const shape = entry.shape;
  if (!isSizes(shape) || !Number.isSafeInteger(elementCount(shape) * 8)) {
    return fail("a shape of whole numbers", shape);
  }
  const offsets = entry.data_offsets;
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[0]! > offsets[1]!) {
    return fail("data_offsets [begin, end]", offsets);
  }
  const info = { dtype, shape };
  const [begin, end] = offsets as [number, number];
  if (end - begin !== byteCount(info)) {
    return fail(`${byteCount(info)} bytes for ${infoText(info)} (${code})`, end - begin);
  }
  return [name, { ...info, offset: dataStart + begin }];
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((d) => Number.isSafeInteger(d) && d >= 0);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
