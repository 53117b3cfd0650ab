/** The folder of `--cache`. */
import { makeFolder } from "../../shared/files.ts";
import { EVALUATE_FLAGS, type EvaluateFlags } from "./flags.ts";

/**
 * Makes the folder that features are kept in, before anything is computed that could then not be
 * kept.
 *
 * @returns Its path.
 * @throws {CommandError} where it cannot be made.
 */
export async function makeCache({ cache }: EvaluateFlags): Promise<string> {
  const folder = cache ?? EVALUATE_FLAGS.cache.default;
  await makeFolder(folder);
  return folder;
}
