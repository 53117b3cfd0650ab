/**
 * Stand-in for `@std/cli`, used only where JSR cannot be reached (see `tools/std.ts`): the command
 * line parser.
 *
 * @module
 */
export { type Args, parseArgs, type ParseOptions } from "./parse_args.ts";
