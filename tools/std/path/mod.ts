/**
 * Stand-in for `@std/path`, used only where JSR cannot be reached (see `tools/std.ts`): paths of the
 * system this runs on.
 *
 * @module
 */
import * as posix from "./posix.ts";
import * as windows from "./windows.ts";

const { basename, dirname, fromFileUrl, join, relative, resolve, toFileUrl } =
  (globalThis as { Deno?: typeof Deno }).Deno?.build.os === "windows" ? windows : posix;

export { basename, dirname, fromFileUrl, join, relative, resolve, toFileUrl };
