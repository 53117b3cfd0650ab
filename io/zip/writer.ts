import { FormatError } from "../errors.ts";
import type { ByteSink } from "../source.ts";
import { crc32, crc32Combine } from "./crc32.ts";
import { entryPlace } from "./directory.ts";
import * as zip from "./format.ts";

/** 1 January 1980, the zero of zip's calendar: files with the same content are the same bytes. */
const DOS_DATE = (1 << 5) | 1;

/** Extra field that only fills space, by the id PyTorch's own writer gives it. */
const PADDING_EXTRA = 0x4246;

/** How an entry is laid out. */
export interface ZipEntryOptions {
  /** Bytes that will be written, where known; else fields for more than 4 GiB are reserved. */
  readonly size?: number;
  /** The data begins at a multiple of this. */
  readonly align?: number;
  /** Bytes reserved at the start, given to `end()` when what they say is known. */
  readonly headBytes?: number;
}

/** What the headers say of an entry. */
interface EntryRecord {
  readonly name: Uint8Array<ArrayBuffer>;
  readonly headerOffset: number;
  readonly size: number;
  readonly crc: number;
}

/**
 * Writes a zip archive of stored entries, one after the other, each in pieces of any size. Zip64 is
 * used where a 32-bit field does not suffice.
 */
export class ZipWriter {
  readonly #sink: ByteSink;
  readonly #names = new Set<string>();
  readonly #written: EntryRecord[] = [];
  #position = 0;
  #current: ZipEntryWriter | undefined;

  readonly #limit: number;

  /**
   * Writes to a sink from its beginning.
   *
   * @param limit Sizes and offsets from this on go into the wider fields; lower in tests only.
   */
  constructor(sink: ByteSink, limit: number = zip.IN_ZIP64_32) {
    this.#sink = sink;
    this.#limit = limit;
  }

  /**
   * Begins an entry; the one before must have ended.
   *
   * @throws {FormatError} If the name is taken.
   */
  begin(name: string, options: ZipEntryOptions = {}): ZipEntryWriter {
    if (this.#current) throw new Error("ZipWriter.begin: the entry before has not ended");
    if (this.#names.has(name)) {
      throw new FormatError(this.#sink.name, entryPlace(name), "a new name", "one that is taken");
    }
    this.#names.add(name);
    const { size = Infinity } = options;
    const place = { offset: this.#position, zip64: size >= this.#limit };
    this.#current = new ZipEntryWriter(this.#sink, name, place, options, (entry, end) => {
      this.#written.push(entry);
      this.#position = end;
      this.#current = undefined;
    });
    return this.#current;
  }

  /** Writes a whole entry. */
  async add(name: string, bytes: Uint8Array, align = 1): Promise<void> {
    const entry = this.begin(name, { size: bytes.byteLength, align });
    await entry.write(bytes);
    await entry.end();
  }

  /** Writes the directory, which makes the archive complete. */
  async finish(): Promise<void> {
    if (this.#current) throw new Error("ZipWriter.finish: the last entry has not ended");
    const start = this.#position;
    const directory = concat(this.#written.map((entry) => centralHeader(entry, this.#limit)));
    const end = endRecords(this.#written.length, start, directory.byteLength, this.#limit);
    await this.#sink.writeAt(start, directory);
    await this.#sink.writeAt(start + directory.byteLength, end);
  }
}

/** An entry that is being written. */
export class ZipEntryWriter {
  readonly #sink: ByteSink;
  readonly #place: string;
  readonly #name: Uint8Array<ArrayBuffer>;
  readonly #headerOffset: number;
  readonly #dataOffset: number;
  readonly #zip64: boolean;
  readonly #padding: number;
  readonly #headBytes: number;
  readonly #expected: number | undefined;
  readonly #ended: (entry: EntryRecord, position: number) => void;
  #size: number;
  #crc = 0;

  /** Made by {@linkcode ZipWriter.begin}. */
  constructor(
    sink: ByteSink,
    name: string,
    { offset, zip64 }: { readonly offset: number; readonly zip64: boolean },
    { size, align = 1, headBytes = 0 }: ZipEntryOptions,
    ended: (entry: EntryRecord, position: number) => void,
  ) {
    this.#sink = sink;
    this.#place = entryPlace(name);
    this.#name = new TextEncoder().encode(name);
    this.#headerOffset = offset;
    this.#zip64 = zip64;
    const unpadded = offset + zip.LOCAL_HEADER_BYTES + this.#name.length +
      (this.#zip64 ? 20 : 0);
    this.#padding = paddingBytes(unpadded, align);
    this.#dataOffset = unpadded + this.#padding;
    this.#headBytes = headBytes;
    this.#expected = size;
    this.#ended = ended;
    this.#size = headBytes;
  }

  /** Appends bytes. */
  async write(bytes: Uint8Array): Promise<void> {
    const at = this.#dataOffset + this.#size;
    this.#size += bytes.byteLength;
    this.#crc = crc32(bytes, this.#crc);
    await this.#sink.writeAt(at, bytes);
  }

  /**
   * Ends the entry.
   *
   * @param head The bytes reserved by `headBytes`.
   * @throws {FormatError} If the entry is not as large as it was said to be.
   */
  async end(head: Uint8Array = new Uint8Array(0)): Promise<void> {
    if (head.byteLength !== this.#headBytes) {
      throw new FormatError(
        this.#sink.name,
        this.#place,
        `a head of ${this.#headBytes} bytes`,
        `${head.byteLength}`,
      );
    }
    if (this.#expected !== undefined && this.#expected !== this.#size) {
      throw new FormatError(
        this.#sink.name,
        this.#place,
        `${this.#expected} bytes before it ends`,
        `${this.#size}`,
      );
    }
    const crc = crc32Combine(crc32(head), this.#crc, this.#size - head.byteLength);
    const entry = {
      name: this.#name,
      headerOffset: this.#headerOffset,
      size: this.#size,
      crc,
    };
    await this.#sink.writeAt(this.#headerOffset, this.#localHeader(entry));
    await this.#sink.writeAt(this.#dataOffset, head);
    this.#ended(entry, this.#dataOffset + this.#size);
  }

  #localHeader(entry: EntryRecord): Uint8Array {
    const header = new Uint8Array(this.#dataOffset - this.#headerOffset);
    const view = new DataView(header.buffer);
    view.setUint32(0, zip.LOCAL_HEADER, true);
    writeShared(view, 4, entry, this.#zip64);
    view.setUint16(26, entry.name.byteLength, true);
    view.setUint16(28, (this.#zip64 ? 20 : 0) + this.#padding, true);
    header.set(entry.name, zip.LOCAL_HEADER_BYTES);
    let at = zip.LOCAL_HEADER_BYTES + entry.name.byteLength;
    if (this.#zip64) {
      view.setUint16(at, zip.ZIP64_EXTRA, true);
      view.setUint16(at + 2, 16, true);
      view.setBigUint64(at + 4, BigInt(entry.size), true);
      view.setBigUint64(at + 12, BigInt(entry.size), true);
      at += 20;
    }
    if (this.#padding > 0) {
      view.setUint16(at, PADDING_EXTRA, true);
      view.setUint16(at + 2, this.#padding - 4, true);
    }
    return header;
  }
}

/** Bytes of an extra field, none or at least its own 4, that bring `offset` to a multiple. */
function paddingBytes(offset: number, align: number): number {
  if (offset % align === 0) return 0;
  const past = (offset + 4) % align;
  return 4 + (past === 0 ? 0 : align - past);
}

/** The fields from "version needed" to the sizes, which both kinds of header have. */
function writeShared(view: DataView, at: number, entry: EntryRecord, zip64: boolean): void {
  const size = zip64 ? zip.IN_ZIP64_32 : entry.size;
  view.setUint16(at, zip64 ? 45 : 20, true);
  view.setUint16(at + 2, entry.name.some((byte) => byte > 127) ? zip.FLAG_UTF8 : 0, true);
  view.setUint16(at + 4, zip.METHOD_STORED, true);
  view.setUint16(at + 8, DOS_DATE, true);
  view.setUint32(at + 10, entry.crc, true);
  view.setUint32(at + 14, size, true);
  view.setUint32(at + 18, size, true);
}

function centralHeader(entry: EntryRecord, limit: number): Uint8Array<ArrayBuffer> {
  const wideSize = entry.size >= limit;
  const wideOffset = entry.headerOffset >= limit;
  const wide = [
    ...(wideSize ? [entry.size, entry.size] : []),
    ...(wideOffset ? [entry.headerOffset] : []),
  ];
  const extraStart = zip.CENTRAL_HEADER_BYTES + entry.name.byteLength;
  const extraBytes = wide.length > 0 ? 4 + 8 * wide.length : 0;
  const header = new Uint8Array(extraStart + extraBytes);
  const view = new DataView(header.buffer);
  view.setUint32(0, zip.CENTRAL_HEADER, true);
  view.setUint16(4, 45, true);
  writeShared(view, 6, entry, wideSize);
  view.setUint16(28, entry.name.byteLength, true);
  view.setUint16(30, extraBytes, true);
  view.setUint32(42, wideOffset ? zip.IN_ZIP64_32 : entry.headerOffset, true);
  header.set(entry.name, zip.CENTRAL_HEADER_BYTES);
  if (wide.length > 0) {
    view.setUint16(extraStart, zip.ZIP64_EXTRA, true);
    view.setUint16(extraStart + 2, 8 * wide.length, true);
    wide.forEach((value, i) => view.setBigUint64(extraStart + 4 + 8 * i, BigInt(value), true));
  }
  return header;
}

/** The end of the archive: its zip64 records, where needed, and the classic one. */
function endRecords(
  count: number,
  offset: number,
  bytes: number,
  limit: number,
): Uint8Array<ArrayBuffer> {
  const zip64 = count >= zip.IN_ZIP64_16 || offset >= limit;
  const classicAt = zip64 ? zip.END_OF_DIRECTORY_64_BYTES + zip.END_LOCATOR_64_BYTES : 0;
  const records = new Uint8Array(classicAt + zip.END_OF_DIRECTORY_BYTES);
  const view = new DataView(records.buffer);
  if (zip64) {
    view.setUint32(0, zip.END_OF_DIRECTORY_64, true);
    view.setBigUint64(4, BigInt(zip.END_OF_DIRECTORY_64_BYTES - 12), true);
    view.setUint16(12, 45, true);
    view.setUint16(14, 45, true);
    view.setBigUint64(24, BigInt(count), true);
    view.setBigUint64(32, BigInt(count), true);
    view.setBigUint64(40, BigInt(bytes), true);
    view.setBigUint64(48, BigInt(offset), true);
    view.setUint32(56, zip.END_LOCATOR_64, true);
    view.setBigUint64(64, BigInt(offset + bytes), true);
    view.setUint32(72, 1, true);
  }
  view.setUint32(classicAt, zip.END_OF_DIRECTORY, true);
  view.setUint16(classicAt + 8, Math.min(count, zip.IN_ZIP64_16), true);
  view.setUint16(classicAt + 10, Math.min(count, zip.IN_ZIP64_16), true);
  view.setUint32(classicAt + 12, Math.min(bytes, zip.IN_ZIP64_32), true);
  view.setUint32(classicAt + 16, offset >= limit ? zip.IN_ZIP64_32 : offset, true);
  return records;
}

function concat(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}
