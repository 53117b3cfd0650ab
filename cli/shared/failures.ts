/** Errors of the library and of the system that are shown to the user without a stack. */
import { FormatError } from "@dit/core/io";
import { StateDictError } from "@dit/core/nn";
import { ConfigError } from "@dit/core/pipeline";
import { DeviceError, DeviceLostError, OutOfMemoryError, ShapeError } from "@dit/core/tensor";
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

/** A `CommandError` for failures of files, data and devices; any other error, a bug, unchanged. */
export function toCommandError(error: unknown): unknown {
  if (error instanceof OutOfMemoryError) {
    return new CommandError(`${error.message}; try --half, or a smaller --batch-size`, {
      cause: error,
    });
  }
  if (error instanceof DeviceLostError) {
    return new CommandError(
      `${error.message}; start the command again, training with --resume latest`,
      { cause: error },
    );
  }
  const isPlain = [
    DataError,
    ConfigError,
    FormatError,
    StateDictError,
    ShapeError,
    DeviceError,
    ...FILE_ERRORS,
  ]
    .some((kind) => error instanceof kind);
  return isPlain || isOfSystem(error)
    ? new CommandError(messageOf(error), { cause: error })
    : error;
}

/**
 * Whether the system refused something, for which Deno may have no class: a full disk (ENOSPC), a
 * quota that is used up, a disk that cannot be written to, a name that is too long.
 */
function isOfSystem(error: unknown): boolean {
  return error instanceof Error && "code" in error && /^E[A-Z\d]+$/.test(String(error.code));
}
