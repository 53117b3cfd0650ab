/** The central directory of a zip archive, read and checked before any entry is. */
import { FormatError, quote } from "../errors.ts";
import { foreignKind } from "../foreign.ts";
import { type RandomAccess, readRange } from "../source.ts";
import * as zip from "./format.ts";

/** One file of an archive. */
export interface ZipEntry {
  readonly name: string;
  readonly deflated: boolean;
  /** Bytes in the archive. */
  readonly compressedSize: number;
  /** Bytes when unpacked. */
  readonly size: number;
  readonly crc: number;
  /** Where its bytes begin in the archive. */
  readonly dataOffset: number;
}

/** Far above any real archive, so that a false size cannot ask for much memory. */
const MAX_DIRECTORY_BYTES = 64 * 2 ** 20;

/** Deflate packs at most 258 bytes into 2 bits. */
const MAX_DEFLATE_RATIO = 1032;

interface DirectoryPlace {
  readonly offset: number;
  readonly bytes: number;
  readonly entries: number;
}

type CentralEntry = Omit<ZipEntry, "dataOffset"> & { headerOffset: number; flags: number };

/**
 * Reads the directory and every local header of an archive.
 *
 * @returns The entries by name, in the order of their data. Folders are left out.
 * @throws {FormatError} If the archive is truncated, spans several files, is encrypted, packed in a
 * way other than deflate, or contradicts itself.
 */
export async function readDirectory(source: RandomAccess): Promise<Map<string, ZipEntry>> {
  const place = await findDirectory(source);
  const bytes = await readRange(source, place.offset, place.bytes);
  const central = parseDirectory(source.name, place, bytes);
  central.sort((a, b) => a.headerOffset - b.headerOffset);
  const entries = new Map<string, ZipEntry>();
  for (const [i, entry] of central.entries()) {
    if (entries.has(entry.name)) {
      throw new FormatError(source.name, entryPlace(entry.name), "every name once", "it twice");
    }
    const limit = central[i + 1]?.headerOffset ?? place.offset;
    entries.set(entry.name, await locate(source, entry, limit));
  }
  for (const name of entries.keys()) if (name.endsWith("/")) entries.delete(name);
  return entries;
}

/** How messages name an entry. */
export function entryPlace(name: string): string {
  return `entry ${quote(name)}`;
}

async function findDirectory(source: RandomAccess): Promise<DirectoryPlace> {
  const file = source.name;
  // The end record is followed by a comment of at most 65535 bytes, nearly always of none.
  const tailBytes = Math.min(source.size, zip.END_OF_DIRECTORY_BYTES + 65535);
  const tailStart = source.size - tailBytes;
  const tail = new DataView((await readRange(source, tailStart, tailBytes)).buffer);
  for (let at = tailBytes - zip.END_OF_DIRECTORY_BYTES; at >= 0; at--) {
    if (tail.getUint32(at, true) !== zip.END_OF_DIRECTORY) continue;
    if (tail.getUint16(at + 20, true) !== tailBytes - at - zip.END_OF_DIRECTORY_BYTES) continue;
    const end = tailStart + at;
    const entries = tail.getUint16(at + 10, true);
    if (tail.getUint32(at + 4, true) !== 0 || tail.getUint16(at + 8, true) !== entries) {
      throw new FormatError(file, `byte ${end}`, "an archive in one part", "one of several");
    }
    const place = {
      entries,
      bytes: tail.getUint32(at + 12, true),
      offset: tail.getUint32(at + 16, true),
    };
    return await checkPlace(source, end, place);
  }
  throw new FormatError(
    file,
    `byte ${source.size}`,
    "a zip directory at the end of the file",
    await foreignKind(source) ?? "none: the file is truncated or no zip archive",
  );
}

/** Follows the zip64 records where there are some, and checks that all parts meet. */
async function checkPlace(
  source: RandomAccess,
  end: number,
  place: DirectoryPlace,
): Promise<DirectoryPlace> {
  let found = place;
  let directoryEnd = end;
  const locator = end - zip.END_LOCATOR_64_BYTES;
  const head = locator >= 0
    ? new DataView((await readRange(source, locator, zip.END_LOCATOR_64_BYTES)).buffer)
    : undefined;
  if (head?.getUint32(0, true) === zip.END_LOCATOR_64) {
    const at = readUint64(source.name, head, 8, locator);
    const record = new DataView(
      (await readRange(source, at, zip.END_OF_DIRECTORY_64_BYTES)).buffer,
    );
    const size = readUint64(source.name, record, 4, at);
    if (record.getUint32(0, true) !== zip.END_OF_DIRECTORY_64 || at + 12 + size !== locator) {
      throw new FormatError(source.name, `byte ${at}`, "a zip64 end of directory", "none");
    }
    const wide = {
      entries: readUint64(source.name, record, 32, at),
      bytes: readUint64(source.name, record, 40, at),
      offset: readUint64(source.name, record, 48, at),
    };
    for (const key of ["entries", "bytes", "offset"] as const) {
      const elsewhere = key === "entries" ? zip.IN_ZIP64_16 : zip.IN_ZIP64_32;
      if (place[key] !== elsewhere && place[key] !== wide[key]) {
        throw new FormatError(
          source.name,
          `byte ${end}`,
          `the directory's ${key} to be ${wide[key]}, as its zip64 record says`,
          `${place[key]}`,
        );
      }
    }
    found = wide;
    directoryEnd = at;
  }
  if (found.offset + found.bytes !== directoryEnd) {
    throw new FormatError(
      source.name,
      `byte ${end}`,
      `a directory that ends at byte ${directoryEnd}`,
      `${found.bytes} bytes at ${found.offset}`,
    );
  }
  if (
    found.bytes > MAX_DIRECTORY_BYTES || found.entries * zip.CENTRAL_HEADER_BYTES > found.bytes
  ) {
    throw new FormatError(
      source.name,
      `byte ${end}`,
      `a directory of at most ${MAX_DIRECTORY_BYTES} bytes that holds its entries`,
      `${found.entries} entries in ${found.bytes} bytes`,
    );
  }
  return found;
}

function parseDirectory(
  file: string,
  place: DirectoryPlace,
  bytes: Uint8Array<ArrayBuffer>,
): CentralEntry[] {
  const view = new DataView(bytes.buffer);
  const entries: CentralEntry[] = [];
  let at = 0;
  while (at < bytes.byteLength) {
    const where = `byte ${place.offset + at}`;
    const short = at + zip.CENTRAL_HEADER_BYTES > bytes.byteLength;
    if (short || view.getUint32(at, true) !== zip.CENTRAL_HEADER) {
      throw new FormatError(file, where, "an entry of the zip directory", "something else");
    }
    const nameStart = at + zip.CENTRAL_HEADER_BYTES;
    const extraStart = nameStart + view.getUint16(at + 28, true);
    const commentStart = extraStart + view.getUint16(at + 30, true);
    const next = commentStart + view.getUint16(at + 32, true);
    if (next > bytes.byteLength) {
      throw new FormatError(file, where, "an entry of the zip directory", "half of one");
    }
    const name = decodeName(file, where, bytes.subarray(nameStart, extraStart));
    const flags = view.getUint16(at + 8, true);
    const method = view.getUint16(at + 10, true);
    if (flags & zip.FLAG_ENCRYPTED) {
      throw new FormatError(
        file,
        entryPlace(name),
        "an entry that is not encrypted",
        "one that is",
      );
    }
    if (method !== zip.METHOD_STORED && method !== zip.METHOD_DEFLATED) {
      throw new FormatError(
        file,
        entryPlace(name),
        "an entry stored or deflated",
        `method ${method}`,
      );
    }
    const sizes = [
      view.getUint32(at + 24, true),
      view.getUint32(at + 20, true),
      view.getUint32(at + 42, true),
    ];
    readZip64Extra(file, name, view, extraStart, commentStart, sizes);
    const [size, compressedSize, headerOffset] = sizes as [number, number, number];
    const deflated = method === zip.METHOD_DEFLATED;
    checkSizes(file, name, deflated, size, compressedSize);
    const crc = view.getUint32(at + 16, true);
    entries.push({ name, deflated, compressedSize, size, crc, headerOffset, flags });
    at = next;
  }
  if (entries.length !== place.entries) {
    throw new FormatError(
      file,
      "zip directory",
      `${place.entries} entries`,
      `${entries.length}`,
    );
  }
  return entries;
}

/** Replaces those of `[size, compressedSize, headerOffset]` that the 32-bit fields leave open. */
function readZip64Extra(
  file: string,
  name: string,
  view: DataView,
  start: number,
  end: number,
  sizes: number[],
): void {
  for (let at = start; at + 4 <= end;) {
    const fieldEnd = at + 4 + view.getUint16(at + 2, true);
    if (fieldEnd > end) break;
    if (view.getUint16(at, true) === zip.ZIP64_EXTRA) {
      let value = at + 4;
      for (const [i, size] of sizes.entries()) {
        if (size !== zip.IN_ZIP64_32 || value + 8 > fieldEnd) continue;
        sizes[i] = readUint64(file, view, value, value);
        value += 8;
      }
      return;
    }
    at = fieldEnd;
  }
  if (sizes.includes(zip.IN_ZIP64_32)) {
    throw new FormatError(file, entryPlace(name), "a zip64 field with its sizes", "none");
  }
}

function checkSizes(
  file: string,
  name: string,
  deflated: boolean,
  size: number,
  compressedSize: number,
): void {
  const possible = deflated
    ? size <= MAX_DEFLATE_RATIO * (compressedSize + 1)
    : size === compressedSize;
  if (!possible) {
    throw new FormatError(
      file,
      entryPlace(name),
      `a size that ${compressedSize} ${deflated ? "deflated" : "stored"} bytes can have`,
      `${size}`,
    );
  }
}

/** Reads an entry's local header, which must agree with the directory, to find its data. */
async function locate(
  source: RandomAccess,
  { headerOffset, flags, ...entry }: CentralEntry,
  limit: number,
): Promise<ZipEntry> {
  const file = source.name;
  const fixed = new DataView(
    (await readRange(source, headerOffset, zip.LOCAL_HEADER_BYTES)).buffer,
  );
  if (fixed.getUint32(0, true) !== zip.LOCAL_HEADER) {
    throw new FormatError(
      file,
      `byte ${headerOffset}`,
      `the local header of ${quote(entry.name)}`,
      "something else",
    );
  }
  const nameBytes = fixed.getUint16(26, true);
  const nameStart = headerOffset + zip.LOCAL_HEADER_BYTES;
  const name = decodeName(
    file,
    `byte ${nameStart}`,
    await readRange(source, nameStart, nameBytes),
  );
  const method = fixed.getUint16(8, true);
  const decisive = zip.FLAG_ENCRYPTED | zip.FLAG_DESCRIPTOR;
  const open = (flags & zip.FLAG_DESCRIPTOR) !== 0;
  const says = (at: number, value: number) =>
    open || fixed.getUint32(at, true) === zip.IN_ZIP64_32 || fixed.getUint32(at, true) === value;
  const agrees = name === entry.name &&
    method === (entry.deflated ? zip.METHOD_DEFLATED : zip.METHOD_STORED) &&
    ((fixed.getUint16(6, true) ^ flags) & decisive) === 0 &&
    (open || fixed.getUint32(14, true) === entry.crc) &&
    says(18, entry.compressedSize) && says(22, entry.size);
  if (!agrees) {
    throw new FormatError(
      file,
      entryPlace(entry.name),
      "a local header that agrees with the directory",
      "one that does not",
    );
  }
  const dataOffset = nameStart + nameBytes + fixed.getUint16(28, true);
  if (dataOffset + entry.compressedSize > limit) {
    throw new FormatError(
      file,
      entryPlace(entry.name),
      `${entry.compressedSize} bytes that end by byte ${limit}`,
      `them to begin at byte ${dataOffset}`,
    );
  }
  return { ...entry, dataOffset };
}

function decodeName(file: string, place: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new FormatError(file, place, "a name in UTF-8", "other bytes");
  }
}

function readUint64(file: string, view: DataView, at: number, place: number): number {
  const value = Number(view.getBigUint64(at, true));
  if (!Number.isSafeInteger(value)) {
    throw new FormatError(file, `byte ${place}`, "a size below 2^53", `${value}`);
  }
  return value;
}
