/** The files of the page: as they are, and its modules as one file of JavaScript each. */
import { crc32 } from "@dit/core/io";
import { bundleModule, PAGE_FILES, type PageFile } from "@dit/web";
import { HttpError } from "./http/http_error.ts";
import type { ServedFile } from "./http/ranges.ts";

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  json: "application/json; charset=utf-8",
  svg: "image/svg+xml; charset=utf-8",
  png: "image/png",
};

/** A file of the page. */
export interface PageAsset extends ServedFile {
  /** Its media type. */
  readonly type: string;
}

/** The files of the page, each read when it is first asked for. */
export class Page {
  readonly #files: ReadonlyMap<string, PageFile>;
  readonly #assets = new Map<string, Promise<PageAsset>>();

  /** Reads nothing yet. */
  constructor(files: readonly PageFile[] = PAGE_FILES) {
    this.#files = new Map(files.map((file) => [file.name, file]));
  }

  /**
   * The file of a name.
   *
   * @returns undefined where there is none.
   * @throws {HttpError} where it cannot be made.
   */
  async get(name: string): Promise<PageAsset | undefined> {
    const file = this.#files.get(name);
    if (file === undefined) return undefined;
    let asset = this.#assets.get(name);
    if (asset === undefined) {
      asset = read(file);
      this.#assets.set(name, asset);
      asset.catch(() => this.#assets.delete(name)); // tried again by the next one
    }
    try {
      return await asset;
    } catch (error) {
      console.error(error);
      throw new HttpError(500, `could not make ${name}; the server's output says why`);
    }
  }

  /** Makes all of them, so that the first visitor need not wait; what fails is said when asked for. */
  async prepare(): Promise<void> {
    for (const name of this.#files.keys()) await this.get(name).catch(() => {});
  }
}

async function read({ name, source, isBundled }: PageFile): Promise<PageAsset> {
  const bytes = isBundled ? await bundleModule(source) : await Deno.readFile(source);
  return {
    type: TYPES[name.split(".").at(-1)!] ?? "application/octet-stream",
    size: bytes.length,
    etag: `"${crc32(bytes).toString(16)}-${bytes.length.toString(16)}"`,
    async *read(start, end) {
      yield await Promise.resolve(bytes.subarray(start, end));
    },
  };
}
