/** Errors of the library and of the system that a person can do something about. */
import { FormatError } from "@dit/core/io";
import { StateDictError } from "@dit/core/nn";
import { DeviceError, OutOfMemoryError, ShapeError } from "@dit/core/tensor";
import { DataError } from "@dit/data";
import { CommandError, messageOf } from "./errors.ts";

/** What the system says about files. */
const FILE_ERRORS = [
  Deno.errors.NotFound,
  Deno.errors.PermissionDenied,
  Deno.errors.NotCapable,
  Deno.errors.AlreadyExists,
  Deno.errors.IsADirectory,
  Deno.errors.NotADirectory,
  Deno.errors.FilesystemLoop,
] as const;

/** The error as a sentence without a stack; a fault of the program itself as it is. */
export function plainly(error: unknown): unknown {
  if (error instanceof OutOfMemoryError) {
    return new CommandError(`${error.message}; try --half, or a smaller --batch-size`, {
      cause: error,
    });
  }
  const isPlain = [DataError, FormatError, StateDictError, ShapeError, DeviceError, ...FILE_ERRORS]
    .some((kind) => error instanceof kind);
  // no room on the disk has no class of its own
  const isFull = error instanceof Error && "code" in error && error.code === "ENOSPC";
  return isPlain || isFull ? new CommandError(messageOf(error), { cause: error }) : error;
}
