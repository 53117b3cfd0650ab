/** Weights that a page's worker loads: from an address, with progress, or from a file it is given. */
import { bytesSource, SafetensorsFile } from "@dit/core/io";

/** Told of bytes that are loaded. */
export type LoadingProgress = (done: number, total: number) => void;

/**
 * Loads a safetensors file.
 *
 * @param file Its address, or the file itself.
 * @throws {Error} where it cannot be loaded, with what to do; an `AbortError` once `signal` ends it.
 */
export async function loadWeightFile(
  file: string | Blob,
  signal: AbortSignal,
  onProgress: LoadingProgress,
): Promise<SafetensorsFile> {
  if (typeof file !== "string") {
    return await SafetensorsFile.from(
      bytesSource(new Uint8Array(await file.arrayBuffer()), "the trained model"),
    );
  }
  const response = await fetch(file, { signal }).catch((error) => {
    signal.throwIfAborted();
    throw new Error(`${file} cannot be reached: ${error.message}`);
  });
  if (!response.ok || response.body === null) {
    throw new Error(`${file}: the page's host answered ${response.status}`);
  }
  const bytes = await readAll(response, onProgress);
  return await SafetensorsFile.from(bytesSource(bytes, new URL(file).pathname));
}

/** The body of a response; one whose length is known is read into one array. */
async function readAll(
  response: Response,
  onProgress: LoadingProgress,
): Promise<Uint8Array<ArrayBuffer>> {
  const isPacked = response.headers.has("content-encoding"); // its length is not that of the file
  const total = isPacked ? 0 : Number(response.headers.get("content-length") ?? 0);
  let bytes = allocate(total);
  let length = 0;
  const reader = response.body!.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return bytes.subarray(0, length);
    if (length + value.length > bytes.length) {
      const grown = allocate(Math.max(2 * bytes.length, length + value.length));
      grown.set(bytes.subarray(0, length));
      bytes = grown;
    }
    bytes.set(value, length);
    length += value.length;
    onProgress(length, Math.max(total, length));
  }
}

function allocate(bytes: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(bytes);
  } catch {
    const size = `${Math.ceil(bytes / 2 ** 20).toLocaleString("en")} MB`;
    throw new Error(
      `this browser has no memory for weights of ${size}. Close other pages, choose a smaller ` +
        "model, or draw on the server where there is one.",
    );
  }
}
