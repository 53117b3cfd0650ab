/** Flags of a command as a table: how each is read, what it means, and what is said of a wrong one. */
import { parseArgs } from "@std/cli";
import { didYouMean, UsageError } from "./errors.ts";

/** One flag. */
export interface Flag<T> {
  /** What it does, in a line. */
  readonly help: string;
  /** What stands for its value in the help; undefined for a flag that is on or off. */
  readonly value: string | undefined;
  /** Reads its value. */
  parse(text: string, name: string): T;
}

/** Flags by name, without the dashes, in the order of the help. */
export type FlagTable = Readonly<Record<string, Flag<unknown>>>;

/** What was given, by name; nothing for a flag that was left out. */
export type FlagValues<Table extends FlagTable> = {
  [Name in keyof Table]?: Table[Name] extends Flag<infer T> ? T : never;
};

/** A flag with any text as its value. */
export function text(value: string, help: string): Flag<string> {
  return {
    help,
    value,
    parse(given, name) {
      if (given === "") throw new UsageError(`--${name}: expected ${value} but got nothing`);
      return given;
    },
  };
}

/** A flag with a whole number of at least `least` as its value. */
export function count(help: string, least = 1): Flag<number> {
  return {
    help,
    value: "N",
    parse(given, name) {
      const n = Number(given);
      if (given !== "" && Number.isSafeInteger(n) && n >= least) return n;
      throw new UsageError(
        `--${name}: expected a whole number of ${least} or more but got ${quoted(given)}`,
      );
    },
  };
}

/** A flag with a number in [low, high] as its value. */
export function real(help: string, low = 0, high = Infinity): Flag<number> {
  return {
    help,
    value: "X",
    parse(given, name) {
      const x = Number(given);
      if (given !== "" && Number.isFinite(x) && x >= low && x <= high) return x;
      const range = high === Infinity ? `of ${low} or more` : `from ${low} to ${high}`;
      throw new UsageError(`--${name}: expected a number ${range} but got ${quoted(given)}`);
    },
  };
}

/** A flag with one of a few words as its value. */
export function choice<T extends string>(choices: readonly T[], help: string): Flag<T> {
  return {
    help,
    value: choices.join("|"),
    parse(given, name) {
      const found = choices.find((word) => word === given);
      if (found === undefined) throw UsageError.choice(`--${name}`, given, choices);
      return found;
    },
  };
}

/** A flag that is on when given, and off as `--no-NAME`. */
export function toggle(help: string): Flag<boolean> {
  return { help, value: undefined, parse: (given) => given === "true" };
}

function quoted(given: string): string {
  return given === "" ? "nothing" : `"${given}"`;
}

/**
 * Reads a command line.
 *
 * @returns What was given.
 * @throws {UsageError} naming what is wrong, and the nearest right spelling.
 */
export function parseFlags<Table extends FlagTable>(
  args: readonly string[],
  table: Table,
): FlagValues<Table> {
  const names = Object.keys(table);
  const toggles = names.filter((name) => table[name]!.value === undefined);
  const given = parseArgs(args, {
    string: [...names.filter((name) => table[name]!.value !== undefined), "_"],
    boolean: toggles,
    negatable: toggles,
    // Toggles that are left out are told from those that are off.
    default: Object.fromEntries(toggles.map((name) => [name, undefined])),
    unknown: (arg, key) => {
      if (key === undefined) throw new UsageError(`expected flags only but got "${arg}"`);
      throw new UsageError(`unknown flag ${arg.split("=")[0]}${nearestFlag(key, names)}`);
    },
  }) as Record<string, unknown>;
  const values: Record<string, unknown> = {};
  for (const name of names) {
    if (given[name] !== undefined) values[name] = table[name]!.parse(String(given[name]), name);
  }
  return values as FlagValues<Table>;
}

/**
 * Puts what was given under another name of a flag where it belongs.
 *
 * @param aliases The flag that each other name stands for.
 * @throws {UsageError} where both are given and differ.
 */
export function withoutAliases<Flags extends object>(
  flags: Flags,
  aliases: Readonly<Record<string, string>>,
): Flags {
  const out = { ...flags } as Record<string, unknown>;
  for (const [alias, name] of Object.entries(aliases)) {
    if (out[alias] === undefined) continue;
    if (out[name] !== undefined && out[name] !== out[alias]) {
      throw new UsageError(`--${alias} is another name of --${name}: expected one of them only`);
    }
    out[name] = out[alias];
    delete out[alias];
  }
  return out as Flags;
}

function nearestFlag(key: string, names: readonly string[]): string {
  return didYouMean(key, names).replace("mean ", "mean --");
}

/** A line for each flag; those of a group under its title. */
export function flagsHelp(groups: Readonly<Record<string, FlagTable>>): string {
  const left = (name: string, { value }: Flag<unknown>) => `--${name}${value ? ` ${value}` : ""}`;
  const lines = Object.entries(groups).map(([title, table]) => {
    const rows = Object.entries(table).map(([name, flag]) => {
      const start = left(name, flag);
      const gap = start.length > 26 ? `\n${" ".repeat(30)}` : " ".repeat(28 - start.length);
      return `  ${start}${gap}${flag.help}`;
    });
    return `${title}:\n${rows.join("\n")}`;
  });
  return lines.join("\n\n");
}
