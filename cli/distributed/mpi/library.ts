/** Finds the MPI library of a launcher, and loads it. */
import { CommandError, messageOf } from "../../shared/errors.ts";
import type { Environment, Family, Launcher } from "../launcher.ts";
import { type Abi, abiOf } from "./abi.ts";

/** The variable that names the library, as a path or as the system finds it. */
export const LIBRARY_VARIABLE = "DIT_MPI_LIBRARY";

/** The variable that says how many seconds ranks wait for each other before they give up. */
export const TIMEOUT_VARIABLE = "DIT_MPI_TIMEOUT";

/** A handle: an address, or a number in the lower half of the register. */
const HANDLE = "usize";

/** The functions that are used, as all libraries have them. */
const SYMBOLS = {
  MPI_Get_library_version: { parameters: ["buffer", "buffer"], result: "i32" },
  MPI_Init_thread: { parameters: ["pointer", "pointer", "i32", "buffer"], result: "i32" },
  MPI_Comm_rank: { parameters: [HANDLE, "buffer"], result: "i32" },
  MPI_Comm_size: { parameters: [HANDLE, "buffer"], result: "i32" },
  MPI_Comm_split_type: {
    parameters: [HANDLE, "i32", "i32", HANDLE, "buffer"],
    result: "i32",
  },
  MPI_Comm_set_errhandler: { parameters: [HANDLE, HANDLE], result: "i32" },
  MPI_Error_string: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  MPI_Iallreduce: {
    parameters: ["usize", "usize", "i32", HANDLE, HANDLE, HANDLE, "buffer"],
    result: "i32",
  },
  MPI_Ibcast: { parameters: ["usize", "i32", HANDLE, "i32", HANDLE, "buffer"], result: "i32" },
  MPI_Ibarrier: { parameters: [HANDLE, "buffer"], result: "i32" },
  MPI_Test: { parameters: ["buffer", "buffer", "buffer"], result: "i32" },
  MPI_Abort: { parameters: [HANDLE, "i32"], result: "i32" },
  MPI_Finalize: { parameters: [], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** A loaded library. */
export interface MpiLibrary {
  readonly path: string;
  readonly abi: Abi;
  /** Such as `Open MPI 4.1.4`. */
  readonly version: string;
  readonly symbols: Deno.StaticForeignLibraryInterface<typeof SYMBOLS>;
}

/** File names of a family's libraries, the likeliest first. */
const NAMES: Readonly<Record<Family, Readonly<Record<"linux" | "darwin", readonly string[]>>>> = {
  "Open MPI": {
    linux: ["libmpi.so.40", "libmpi.so.80", "libmpi.so"],
    darwin: ["libmpi.40.dylib", "libmpi.80.dylib", "libmpi.dylib"],
  },
  "MPICH": {
    linux: ["libmpich.so.12", "libmpi.so.12", "libmpi_abi.so.0", "libmpi.so"],
    darwin: ["libmpi.12.dylib", "libmpi_abi.0.dylib", "libmpi.dylib"],
  },
};

/** Where libraries lie that the system does not find by name. */
const FOLDERS: Readonly<Record<"linux" | "darwin", readonly string[]>> = {
  linux: [],
  darwin: ["/opt/homebrew/lib", "/usr/local/lib", "/opt/local/lib"],
};

/**
 * Loads the library that a launcher can be spoken to with.
 *
 * @throws {CommandError} where there is none.
 */
export function openLibrary(launcher: Launcher, get: Environment): MpiLibrary {
  const os = Deno.build.os === "darwin" ? "darwin" : "linux";
  const named = get(LIBRARY_VARIABLE);
  const tried: string[] = [];
  for (const family of launcher.families) {
    const paths = named === undefined ? NAMES[family][os] : [named];
    for (const path of paths.flatMap((name) => places(name, os, get))) {
      const library = tryOpen(path);
      // a library of the other family takes the process for one that was started alone
      const fits = library && (named !== undefined || isOf(family, library.abi));
      if (fits) return library;
      tried.push(path);
    }
  }
  throw new CommandError(
    `this process was started by ${launcher.name}, but its library was not found (tried ` +
      `${[...new Set(tried)].join(", ")}). Set ${LIBRARY_VARIABLE} to its path, or give ` +
      `--distributed off for processes that know nothing of each other`,
  );
}

/** A name as the system finds it, and in the folders beside the launchers on the path. */
function places(name: string, os: "linux" | "darwin", get: Environment): string[] {
  if (/[\\/]/.test(name)) return [name];
  const beside = (get("PATH") ?? "").split(":").filter((path) => path.endsWith("/bin"))
    .flatMap((path) => ["lib", "lib64"].map((lib) => `${path.slice(0, -"bin".length)}${lib}`));
  const folders = [...FOLDERS[os], ...beside].filter((path) => isFile(`${path}/${name}`));
  return [name, ...folders.map((path) => `${path}/${name}`)];
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function isOf(family: Family, abi: Abi): boolean {
  return (family === "Open MPI") === (abi.name === "Open MPI");
}

/** Loads a library; null where there is none of this path. */
function tryOpen(path: string): MpiLibrary | null {
  if (!pin(path)) return null;
  const { symbols } = Deno.dlopen(path, SYMBOLS);
  const text = new Uint8Array(8192);
  const length = new Int32Array(1);
  symbols.MPI_Get_library_version(text, length);
  const full = new TextDecoder().decode(text.subarray(0, length[0]));
  return {
    path,
    abi: abiOf((symbol) => addressOf(path, symbol), path),
    version: plainVersion(full),
    symbols,
  };
}

/** "Open MPI v4.1.4, package: ..." and "MPICH Version:\t4.0.2\nMPICH ..." in a few words. */
function plainVersion(text: string): string {
  const line = text.split(/[\n,\0]/)[0]!;
  return line.replace(/\s*version:\s*/i, " ").replace(/ v(?=\d)/, " ").trim();
}

function addressOf(path: string, symbol: string): bigint | null {
  try {
    const library = Deno.dlopen(path, { it: { name: symbol, type: "pointer" } });
    return BigInt(Deno.UnsafePointer.value(library.symbols.it)); // stays open on purpose
  } catch {
    return null;
  }
}

/** The C library, by system and kind. */
const C_LIBRARIES = Deno.build.os === "darwin"
  ? ["libSystem.B.dylib"]
  : ["libc.so.6", `libc.musl-${Deno.build.arch}.so.1`];

/** RTLD_NOW, RTLD_GLOBAL and RTLD_NODELETE. */
const PINNED = Deno.build.os === "darwin" ? 0x2 | 0x8 | 0x80 : 0x2 | 0x100 | 0x1000;

/**
 * Loads a library for good, with its names visible to the plug-ins that it loads itself: Deno
 * unloads libraries when a process ends, under the feet of the threads that MPI has started, and a
 * crash then hides the error that ended it.
 */
function pin(path: string): boolean {
  for (const c of C_LIBRARIES) {
    try {
      const { symbols } = Deno.dlopen(c, {
        dlopen: { parameters: ["buffer", "i32"], result: "pointer" },
      });
      return symbols.dlopen(new TextEncoder().encode(`${path}\0`), PINNED) !== null;
    } catch (error) {
      if (/permission|NotCapable/i.test(`${(error as Error).name} ${messageOf(error)}`)) {
        throw error;
      }
    }
  }
  return false;
}
