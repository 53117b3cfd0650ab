/** The commands that the README shows, so that what is run and what is read cannot differ. */

/** A line such as `deno task train --steps 100`, also of several processes. */
export interface ShownCommand {
  /** The task's name. */
  readonly task: string;
  /** What follows it, comments left out. */
  readonly args: readonly string[];
}

/**
 * The commands in the shell blocks of the README, in their order.
 *
 * @param heading Only of this section, without its `##`.
 * @param file Another text than the README.
 */
export async function readmeCommands(
  heading?: string,
  file = "README.md",
): Promise<ShownCommand[]> {
  const text = await Deno.readTextFile(new URL(`../${file}`, import.meta.url));
  const sections = text.split(/^## /m);
  const wanted = heading === undefined
    ? sections
    : sections.filter((section) => section.startsWith(`${heading}\n`));
  if (wanted.length === 0) throw new Error(`${file}: expected a section "${heading}"`);
  const blocks = wanted.flatMap((s) =>
    Array.from(s.matchAll(/^```sh\n(.*?)^```$/gms), (m) => m[1]!)
  );
  const lines = blocks.join("").replaceAll("\\\n", " ").split("\n");
  return lines.flatMap((line) => {
    const shown = /^(?:npx -y |(?:mpirun|srun) .*)?deno task (?:-q )?([\w-]+)([^#]*)/.exec(
      line.trim(),
    );
    return shown ? [{ task: shown[1]!, args: shown[2]!.split(/\s+/).filter(Boolean) }] : [];
  });
}
