/**
 * Classes of a run: the line that names them, those that grids of samples show, `classes.json`
 * (`{"0": "cat"}`), and the check that data have the same ones when a run is resumed.
 */
import type { ModelConfig } from "@dit/core/pipeline";
import { join } from "@std/path";
import { CommandError } from "./errors.ts";
import { writeWhole } from "./files.ts";

/** Classes that the first lines name. */
const NAMED = 10;

/** How many classes grids show where none are named, and how many samples of each. */
export const SHOWN = { classes: 10, each: 4 } as const;

/** The classes that pictures show: all, or evenly chosen where there are many. */
export function shownClasses(numClasses: number): number[] {
  const count = Math.min(numClasses, SHOWN.classes);
  return Array.from({ length: count }, (_, i) => Math.floor(i * numClasses / count));
}

/** `classes.json` of a run's folder: `{"0": "cat", "1": "dog"}`. */
export async function writeClasses(folder: string, names: readonly string[]): Promise<void> {
  await writeWhole(join(folder, "classes.json"), JSON.stringify({ ...names }, null, 2) + "\n");
}

/**
 * Such as `0 cat, 1 "big dog"`, or that there is one class only and what follows from it; undefined
 * where names are the numbers.
 */
export function classesText({ dit, classNames, nullClass }: ModelConfig): string | undefined {
  if (dit.numClasses === 1) {
    const samples = nullClass === null ? ", and its samples are not guided" : "";
    return `one only (${classNames[0]}): nothing to condition on, so the model is unconditional` +
      samples;
  }
  if (classNames.every((name, i) => name === String(i))) return undefined;
  const all = classNames.map((name, i) => `${i} ${/^[^\s,"]+$/.test(name) ? name : `"${name}"`}`);
  if (all.length <= NAMED) return all.join(", ");
  return `${all.slice(0, NAMED - 1).join(", ")}, ... ${all.at(-1)}: all are in classes.json`;
}

/**
 * Refuses data whose classes have other numbers than those that a model was trained with.
 *
 * @throws {CommandError}
 */
export function requireSameClasses(
  data: string,
  names: readonly string[],
  { classNames }: ModelConfig,
): void {
  const length = Math.max(names.length, classNames.length);
  const at = Array.from({ length }, (_, i) => i).find((i) => names[i] !== classNames[i]);
  if (at === undefined || classNames.length === 0) return;
  const what = (name: string | undefined) => name === undefined ? "no class" : `"${name}"`;
  throw new CommandError(
    `${data}: expected the classes that the run began with but number ${at} was ` +
      `${what(classNames[at])} and has become ${what(names[at])}`,
  );
}
