/** Bodies of requests, which may be of any size and come as slowly as they like. */
import { HttpError } from "./http_error.ts";

/** Most bytes of a body: 64 pictures on the way to others take a quarter of it. */
const MOST_BYTES = 64 * 1024;

/** How long a body may take to arrive, in milliseconds. */
const PATIENCE = 10_000;

/**
 * A body that is JSON.
 *
 * @throws {HttpError} where it is something else, or too large, or takes too long.
 */
export async function readJsonBody(
  request: Request,
  patience: number = PATIENCE,
): Promise<unknown> {
  const type = request.headers.get("content-type") ?? "";
  if (!/^application\/json\s*(;|$)/i.test(type)) { // which pages of others cannot send unasked
    throw new HttpError(415, "expected a body of content-type application/json");
  }
  if (Number(request.headers.get("content-length") ?? 0) > MOST_BYTES) throw tooLarge();
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await readAll(request, patience));
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new HttpError(400, "expected a body of UTF-8");
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new HttpError(400, "expected a body of JSON");
  }
}

async function readAll({ body }: Request, patience: number): Promise<Uint8Array> {
  if (body === null) return new Uint8Array();
  const reader = body.getReader();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new HttpError(408, "the body took too long")), patience);
  });
  const parts: Uint8Array<ArrayBuffer>[] = [];
  try {
    for (let size = 0;;) {
      const { done, value } = await Promise.race([reader.read(), late]);
      if (done) return await new Blob(parts).bytes();
      size += value.length;
      if (size > MOST_BYTES) throw tooLarge();
      parts.push(value);
    }
  } catch (error) {
    await reader.cancel().catch(() => {});
    if (error instanceof HttpError) throw error;
    throw new HttpError(400, "the body ended early");
  } finally {
    clearTimeout(timer);
  }
}

function tooLarge(): HttpError {
  return new HttpError(413, `expected a body of ${MOST_BYTES} bytes at most`);
}
