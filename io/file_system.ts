/**
 * What the runtime offers in files: Deno's, Node's (and so Bun's), or none, as in a page. The only
 * module of `io` that knows which; it asks when a file is opened, not when the module loads.
 */

/** A file that is open. Reads and writes are synchronous: see `openFile`. */
export interface OpenFile {
  stat(): { readonly isFile: boolean; readonly isDirectory: boolean; readonly size: number };
  /** Reads up to `target.byteLength` bytes from `offset` on; how many there were. */
  read(offset: number, target: Uint8Array): number;
  /** Writes some of `bytes` at `offset`; how many. */
  write(offset: number, bytes: Uint8Array): number;
  /** Brings what was written to the disk. */
  sync(): void;
  close(): void;
}

/** Files by path. */
export interface FileSystem {
  /** Opens a file to read, or one to write that must not be there yet. */
  open(path: string, how: "read" | "create"): OpenFile;
  rename(from: string, to: string): void;
  remove(path: string): void;
}

/** What is used of Node's module of files. */
interface NodeFs {
  openSync(path: string, flags: "r" | "wx"): number;
  fstatSync(file: number): { isFile(): boolean; isDirectory(): boolean; size: number };
  readSync(file: number, target: Uint8Array, at: number, length: number, offset: number): number;
  writeSync(file: number, bytes: Uint8Array, at: number, length: number, offset: number): number;
  fsyncSync(file: number): void;
  closeSync(file: number): void;
  renameSync(from: string, to: string): void;
  unlinkSync(path: string): void;
}

interface Runtime {
  readonly Deno?: typeof Deno;
  readonly process?: { getBuiltinModule?(name: "node:fs"): NodeFs | undefined };
}

/**
 * The files of this runtime.
 *
 * @param path Of the file that is wanted, for the message.
 * @throws {Error} where there are none.
 */
export function fileSystem(path: string): FileSystem {
  const { Deno: deno, process } = globalThis as Runtime;
  if (deno !== undefined) return denoFiles(deno);
  const fs = process?.getBuiltinModule?.("node:fs");
  if (fs !== undefined) return nodeFiles(fs);
  throw new Error(
    `${path}: expected a runtime with files but this one has none; ` +
      "give a URL, a Blob, a Response, a ReadableStream or bytes in place of a path",
  );
}

/** Whether an error says that there is no such file. */
export function isNotFound(error: unknown): boolean {
  const { name, code } = error as { name?: string; code?: string };
  return name === "NotFound" || code === "ENOENT";
}

function denoFiles(deno: typeof Deno): FileSystem {
  return {
    open(path, how) {
      const file = deno.openSync(
        path,
        how === "read" ? { read: true } : { write: true, createNew: true },
      );
      return {
        stat: () => file.statSync(),
        read(offset, target) {
          file.seekSync(offset, deno.SeekMode.Start);
          return file.readSync(target) ?? 0;
        },
        write(offset, bytes) {
          file.seekSync(offset, deno.SeekMode.Start);
          return file.writeSync(bytes);
        },
        sync: () => file.syncSync(),
        close: () => file.close(),
      };
    },
    rename: (from, to) => deno.renameSync(from, to),
    remove: (path) => deno.removeSync(path),
  };
}

function nodeFiles(fs: NodeFs): FileSystem {
  return {
    open(path, how) {
      const file = fs.openSync(path, how === "read" ? "r" : "wx");
      return {
        stat() {
          const stat = fs.fstatSync(file);
          return { isFile: stat.isFile(), isDirectory: stat.isDirectory(), size: stat.size };
        },
        read: (offset, target) => fs.readSync(file, target, 0, target.byteLength, offset),
        write: (offset, bytes) => fs.writeSync(file, bytes, 0, bytes.byteLength, offset),
        sync: () => fs.fsyncSync(file),
        close: () => fs.closeSync(file),
      };
    },
    rename: (from, to) => fs.renameSync(from, to),
    remove: (path) => fs.unlinkSync(path),
  };
}
