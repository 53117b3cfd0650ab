/** Parts of a file (RFC 9110, section 14), and answers with them. */
import { patientStream } from "./patient_stream.ts";

/** Bytes from `start` to just before `end`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * The part that a `Range` asks for. Several at once are answered by the whole, as is what is none of
 * bytes: a server may always do so.
 *
 * @param size Bytes in all.
 * @returns null for the whole; `unsatisfiable` where it lies behind the end.
 */
export function readRange(header: string | null, size: number): ByteRange | "unsatisfiable" | null {
  const [, first, last] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.trim() ?? "") ?? [];
  if (first === undefined || last === undefined || first === "" && last === "") return null;
  if (first === "") { // the last so many
    const count = Math.min(Number(last), size);
    return count === 0 ? "unsatisfiable" : { start: size - count, end: size };
  }
  const start = Number(first);
  const end = last === "" ? size : Math.min(Number(last) + 1, size);
  if (last !== "" && Number(last) < start) return null;
  return start >= size ? "unsatisfiable" : { start, end };
}

/** Bytes that are read as they are asked for. */
export interface ServedFile {
  readonly size: number;
  /** What changes when the bytes do; in quotes. */
  readonly etag: string;
  /** Reads bytes from `start` to just before `end`, in parts of any size. */
  read(start: number, end: number): AsyncIterable<Uint8Array<ArrayBuffer>>;
}

/** Answers a request for a file, or a part of it. */
export function fileResponse(request: Request, file: ServedFile, type: string): Response {
  const { size, etag } = file;
  const headers = new Headers({
    "content-type": type,
    "accept-ranges": "bytes",
    "cache-control": "no-cache",
    etag,
  });
  if (request.headers.get("if-none-match") === etag) {
    return new Response(null, { status: 304, headers });
  }
  const condition = request.headers.get("if-range");
  const isAsked = condition === null || condition === etag;
  const range = isAsked ? readRange(request.headers.get("range"), size) : null;
  if (range === "unsatisfiable") {
    headers.set("content-range", `bytes */${size}`);
    return new Response(null, { status: 416, headers });
  }
  const { start, end } = range ?? { start: 0, end: size };
  headers.set("content-length", String(end - start));
  if (range) headers.set("content-range", `bytes ${start}-${end - 1}/${size}`);
  const body = request.method === "HEAD" ? null : patientStream(file.read(start, end));
  return new Response(body, { status: range ? 206 : 200, headers });
}
