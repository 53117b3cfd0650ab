/**
 * The header of NumPy's `.npy` format, versions 1 to 3: magic, version, length, then a Python dict
 * `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`, padded so that the data begins at
 * a multiple of 64. (numpy/lib/format.py)
 */
import { FormatError, quote } from "../errors.ts";
import { foreignKindOf } from "../foreign.ts";
import {
  byteCount,
  elementCount,
  HOST_DTYPE_BYTES,
  type HostDType,
  type TensorInfo,
} from "../../tensor/mod.ts";

/** What a header says. */
export interface NpyHeader extends TensorInfo {
  readonly bigEndian: boolean;
  /** The first index runs fastest. */
  readonly fortranOrder: boolean;
  /** Where the elements begin. */
  readonly dataOffset: number;
}

/** Longer than any header up to version 3 that NumPy reads by default (its `max_header_size`). */
export const MAX_NPY_HEADER_BYTES = 10_000 + 12;

const ALIGNMENT = 64;

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

const TYPE_CODES: Partial<Record<HostDType, string>> = {
  f64: "f8",
  f32: "f4",
  f16: "f2",
  i64: "i8",
  i32: "i4",
  i16: "i2",
  i8: "i1",
  u64: "u8",
  u32: "u4",
  u16: "u2",
  u8: "u1",
  bool: "b1",
};

const DTYPES = new Map(
  Object.entries(TYPE_CODES).map(([dtype, code]) => [code, dtype as HostDType]),
);

/**
 * Reads a header.
 *
 * @param start The first bytes of the array, up to {@linkcode MAX_NPY_HEADER_BYTES} or all.
 * @param size All bytes of the array, header and elements.
 * @param file For messages.
 * @param place Which array of the file, for messages.
 */
export function parseNpyHeader(
  start: Uint8Array,
  size: number,
  file: string,
  place: string,
): NpyHeader {
  const fail = (expected: string, found: string): never => {
    throw new FormatError(file, place, expected, found);
  };
  const version = start[6];
  if (start.byteLength < 12 || MAGIC.some((byte, i) => start[i] !== byte)) {
    return fail("a NumPy array", foreignKindOf(start) ?? "other bytes");
  }
  if (version !== 1 && version !== 2 && version !== 3) {
    return fail("npy version 1 to 3", `${version}`);
  }
  const view = new DataView(start.buffer, start.byteOffset, start.byteLength);
  const textStart = version === 1 ? 10 : 12;
  const dataOffset = textStart +
    (version === 1 ? view.getUint16(8, true) : view.getUint32(8, true));
  if (dataOffset > start.byteLength) {
    return fail(
      `a header of at most ${start.byteLength} bytes`,
      `${dataOffset}`,
    );
  }
  const text = new TextDecoder("latin1").decode(start.subarray(textStart, dataOffset));
  const fields = parseFields(text);
  const code = fields?.get("descr")?.match(/^'([<>|=]?)(\w+)'$/);
  const shape = fields?.get("shape")?.match(/\d+/g)?.map(Number) ?? [];
  if (!fields || !code) return fail("descr, fortran_order and shape", quote(text.trim()));
  const dtype = DTYPES.get(code[2] === "?" ? "b1" : code[2]!);
  if (!dtype) return fail(`an element type out of ${[...DTYPES.keys()].join(", ")}`, code[0]);
  if (!Number.isSafeInteger(elementCount(shape) * 8)) return fail("a shape", fields.get("shape")!);
  const header = {
    dtype,
    shape,
    bigEndian: code[1] === ">" && HOST_DTYPE_BYTES[dtype] > 1,
    fortranOrder: fields.get("fortran_order") === "True",
    dataOffset,
  };
  if (dataOffset + byteCount(header) !== size) {
    return fail(
      `${byteCount(header)} bytes of ${dtype} [${shape.join(", ")}]`,
      `${size - dataOffset}`,
    );
  }
  return header;
}

/** The three fields as written, or undefined if the text is anything but them. */
function parseFields(text: string): Map<string, string> | undefined {
  const field =
    /\s*(?:'(descr)'\s*:\s*('[^']*')|'(fortran_order)'\s*:\s*(True|False)|'(shape)'\s*:\s*(\((?:\s*\d{1,16}L?\s*,)*(?:\s*\d{1,16}L?)?\s*\)))\s*(,\s*|(?=\}))/y;
  const fields = new Map<string, string>();
  const open = text.indexOf("{");
  if (text.slice(0, open).trim() !== "") return undefined;
  let at = open + 1;
  for (;;) {
    field.lastIndex = at;
    const match = field.exec(text);
    if (!match) break;
    const [key, value] = match.slice(1).filter((part) => part !== undefined) as [string, string];
    if (fields.has(key)) return undefined;
    fields.set(key, value);
    at = field.lastIndex;
  }
  return fields.size === 3 && text.slice(at).trim() === "}" ? fields : undefined;
}

/**
 * The header of an array in C order.
 *
 * @param minBytes Padded to at least this, so that a header can replace one written before.
 * @throws {TypeError} If NumPy has no such element type.
 */
export function encodeNpyHeader(info: TensorInfo, minBytes = 0): Uint8Array<ArrayBuffer> {
  const code = TYPE_CODES[info.dtype];
  if (code === undefined) {
    throw new TypeError(`npy: expected an element type of NumPy but got ${info.dtype}`);
  }
  const order = HOST_DTYPE_BYTES[info.dtype] > 1 ? "<" : "|";
  return header(`${order}${code}`, info.shape, minBytes);
}

function header(
  descr: string,
  shape: readonly number[],
  minBytes = 0,
): Uint8Array<ArrayBuffer> {
  const sizes = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${sizes}, }`;
  const bytes = Math.max(minBytes, Math.ceil((10 + text.length + 1) / ALIGNMENT) * ALIGNMENT);
  const header = new Uint8Array(bytes).fill(0x20);
  header.set(MAGIC);
  header.set([1, 0], 6);
  new DataView(header.buffer).setUint16(8, bytes - 10, true);
  header.set(new TextEncoder().encode(text), 10);
  header[bytes - 1] = 0x0a;
  return header;
}

/** A text as a whole array of NumPy, of no dimensions: `str(np.load(...)["key"])`. */
export function encodeNpyText(text: string): Uint8Array<ArrayBuffer> {
  const points = Array.from(text, (character) => character.codePointAt(0)!);
  const start = header(`<U${points.length}`, []);
  const out = new Uint8Array(start.byteLength + 4 * points.length);
  out.set(start);
  const view = new DataView(out.buffer, start.byteLength);
  points.forEach((point, i) => view.setUint32(4 * i, point, true));
  return out;
}

/** A text, as its header describes it. */
export interface NpyText {
  /** Where its characters begin, 4 bytes each. */
  readonly dataOffset: number;
  /** Bytes of the whole array. */
  readonly size: number;
}

/**
 * Reads the header of a text.
 *
 * @param start The first bytes of an array.
 * @returns undefined for an array of anything else.
 */
export function parseNpyText(start: Uint8Array): NpyText | undefined {
  if (MAGIC.some((byte, i) => start[i] !== byte) || start[6] !== 1) return undefined;
  const dataOffset = 10 + (start[8]! | start[9]! << 8);
  const fields = parseFields(new TextDecoder("latin1").decode(start.subarray(10, dataOffset)));
  const length = /^'<U(\d{1,15})'$/.exec(fields?.get("descr") ?? "")?.[1];
  if (length === undefined || fields?.get("shape") !== "()") return undefined;
  return { dataOffset, size: dataOffset + 4 * Number(length) };
}

/** The text of characters of 4 bytes each; zeros at its end are NumPy's filling. */
export function decodeNpyText(characters: Uint8Array): string {
  const view = new DataView(characters.buffer, characters.byteOffset, characters.byteLength);
  const points = Array.from(
    { length: characters.byteLength >> 2 },
    (_, i) => view.getUint32(4 * i, true),
  );
  return points.map((point) => point > 0x10ffff ? "\ufffd" : String.fromCodePoint(point)).join("")
    .replace(/\0+$/, "");
}
