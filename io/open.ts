/** Everything that files can be read from. */
import { FormatError } from "./errors.ts";
import { openFile } from "./file.ts";
import { openHttp } from "./http.ts";
import { bytesSource, type RandomAccess } from "./source.ts";

/**
 * A file as it may be given: its path; its address, of which only the parts that are needed are
 * fetched ({@linkcode openHttp}); a `File` or another `Blob`, such as the visitor of a page chooses;
 * what `fetch()` gave, or a stream, which are read to their end; its bytes; or a source of one's own.
 */
export type FileLike =
  | string
  | URL
  | Blob
  | Response
  | ReadableStream<Uint8Array>
  | Uint8Array
  | ArrayBuffer
  | RandomAccess;

/**
 * Opens a file for reading by range.
 *
 * @throws {FormatError} If it is an answer of a server that says that something went wrong.
 * @throws {TypeError} If it is nothing that bytes can be read from.
 */
export async function openBytes(file: FileLike): Promise<RandomAccess> {
  if (typeof file === "string") return await openFile(file);
  if (file instanceof URL) {
    return file.protocol === "file:" ? await openFile(pathOf(file)) : await openHttp(file);
  }
  if (file instanceof Uint8Array) return bytesSource(file);
  if (file instanceof ArrayBuffer) return bytesSource(new Uint8Array(file));
  if (file instanceof Blob) return blobSource(file);
  if (file instanceof Response) return await responseSource(file);
  if (file instanceof ReadableStream) {
    return bytesSource(new Uint8Array(await new Response(file).arrayBuffer()), "(stream)");
  }
  if (typeof file?.readInto === "function") return file;
  throw new TypeError(
    "expected a path, a URL, a Blob, a Response, a ReadableStream, bytes or a source but got " +
      (file === null ? "null" : typeof file),
  );
}

/** The path of a `file:` address; one with a drive starts with it, not with a slash. */
function pathOf(url: URL): string {
  return decodeURIComponent(url.pathname).replace(/^\/([A-Za-z]:)/, "$1");
}

function blobSource(blob: Blob): RandomAccess {
  const { name = "(blob)" } = blob as { name?: string };
  return {
    name,
    size: blob.size,
    async readInto(offset, target) {
      const bytes = await blob.slice(offset, offset + target.byteLength).arrayBuffer();
      if (bytes.byteLength !== target.byteLength) {
        throw new FormatError(
          name,
          `byte ${offset}`,
          `${target.byteLength} more bytes`,
          `${bytes.byteLength}`,
        );
      }
      target.set(new Uint8Array(bytes));
    },
    close() {},
  };
}

async function responseSource(response: Response): Promise<RandomAccess> {
  const name = response.url || "(response)";
  if (!response.ok) {
    await response.body?.cancel();
    const { status, statusText } = response;
    throw new FormatError(name, "response", "a file", `status ${status} ${statusText}`.trimEnd());
  }
  return bytesSource(new Uint8Array(await response.arrayBuffer()), name);
}
