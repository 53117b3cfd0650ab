/** Flags of a command as a table: how each is read, its help, and messages for wrong values. */
import { parseArgs } from "@std/cli";
import { didYouMean, UsageError } from "./errors.ts";

/** One flag. */
export interface Flag<T> {
  /** What it does, in a line, without its default. */
  readonly help: string;
  /** What stands for its value in the help; undefined for a flag that is on or off. */
  readonly value: string | undefined;
  /** What holds where it is left out, for the help. */
  readonly defaultText?: string | undefined;
  /** Whether it may stand without its value. */
  readonly isOptional?: boolean;
  /** The flag that this one is another name of. */
  readonly aliasOf?: string;
  /** Reads its value. */
  parse(text: string, name: string): T;
}

/** What a flag's value is read as. */
export type ValueOf<F extends Flag<unknown>> = F extends Flag<infer T> ? T : never;

/** Flags by name, without the dashes, in the order of the help. */
export type FlagTable = Readonly<Record<string, Flag<unknown>>>;

/** What was given, by name; nothing for a flag that was left out, nor for other names of flags. */
export type FlagValues<Table extends FlagTable> = {
  [Name in keyof Table as Table[Name] extends Alias ? never : Name]?: Table[Name] extends
    Flag<infer T> ? T : never;
};

/** Another name of a flag. */
export interface Alias extends Flag<never> {
  readonly aliasOf: string;
}

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

/** A flag with a whole number from `least` to `most` as its value. */
export function count(help: string, least = 1, most = Infinity): Flag<number> {
  return {
    help,
    value: "N",
    parse(given, name) {
      const n = numberOf(given);
      if (Number.isSafeInteger(n) && n > most) {
        throw new UsageError(`--${name}: expected ${most} at most but got ${n}`);
      }
      if (Number.isSafeInteger(n) && n >= least) return n;
      throw new UsageError(
        `--${name}: expected a whole number of ${least} or more but got ${quoted(given)}`,
      );
    },
  };
}

/** A flag with whole numbers from 1 to `most` as its value, such as `32,64,128`. */
export function counts(help: string, most = Infinity): Flag<number[]> {
  return {
    help,
    value: "N,N,...",
    parse(given, name) {
      const list = given.split(",").map(numberOf);
      const large = list.find((n) => n > most);
      if (large !== undefined) {
        throw new UsageError(`--${name}: expected ${most} at most but got ${large}`);
      }
      if (list.every((n) => Number.isSafeInteger(n) && n >= 1)) return list;
      throw new UsageError(
        `--${name}: expected whole numbers of 1 or more, such as 32,64,128, but got ${
          quoted(given)
        }`,
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
      const x = numberOf(given);
      if (Number.isFinite(x) && x >= low && x <= high) return x;
      const range = high === Infinity ? `of ${low} or more` : `from ${low} to ${high}`;
      throw new UsageError(`--${name}: expected a number ${range} but got ${quoted(given)}`);
    },
  };
}

/** A flag with one of a few words as its value. */
export function choice<const T extends string>(choices: readonly T[], help: string): Flag<T> {
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
  return {
    help,
    value: undefined,
    parse(given, name) {
      if (given === "true" || given === "false") return given === "true";
      throw new UsageError(
        `--${name}: expected --${name} or --no-${name}, without a value, but got ${quoted(given)}`,
      );
    },
  };
}

/** A flag that may stand without its value, and is `true` then. */
export function optional<T>(flag: Flag<T>): Flag<T | true> {
  return {
    ...flag,
    isOptional: true,
    parse: (given, name) => given === "" ? true : flag.parse(given, name),
  };
}

/** Another name of a flag. */
export function alias(aliasOf: string, value: string, help: string): Alias {
  const parse = () => {
    throw new Error(`--${aliasOf} reads what is given to its other names`);
  };
  return { help, value, aliasOf, parse };
}

/** A flag with a default, which the help shows and the command reads from the table. */
export function withDefault<F extends Flag<unknown>>(
  flag: F,
  value: ValueOf<F>,
): F & { readonly default: ValueOf<F> } {
  return { ...flag, default: value, defaultText: valueText(value) };
}

/** A flag whose default depends on more than the command line, as the text says. */
export function withDefaultText<F extends Flag<unknown>>(flag: F, defaultText: string): F {
  return { ...flag, defaultText };
}

/** A value as the help and messages write it: `on` and `off`, `none`, lists with commas. */
export function valueText(value: unknown): string {
  if (typeof value === "boolean") return value ? "on" : "off";
  return value === null ? "none" : String(value);
}

/** NaN for what is no decimal number; `Number` alone takes blanks for 0, and `0x10` and `1e999`. */
function numberOf(given: string): number {
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(given) ? Number(given) : NaN;
}

function quoted(given: string): string {
  return given === "" ? "nothing" : `"${given}"`;
}

/** Whether an argument is a flag, and not a value such as `-3` or `-` or a file's name. */
function isFlag(arg: string): boolean {
  return /^--./.test(arg);
}

/**
 * Puts the value of a flag behind it, `--steps -3` as `--steps=-3`, so that a value may begin with
 * a dash.
 *
 * @param takesValue Whether the flag of that name has a value.
 */
export function joinValues(
  args: readonly string[],
  takesValue: (name: string) => boolean,
): string[] {
  const out: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === "--") return [...out, ...args.slice(i)];
    const next = args[i + 1];
    const isBare = isFlag(arg) && !arg.includes("=");
    if (isBare && takesValue(arg.slice(2)) && next !== undefined && !isFlag(next)) {
      out.push(`${arg}=${next}`);
      i++;
    } else {
      out.push(arg);
    }
  }
  return out;
}

/** Arguments that belong to no flag, before, between or after flags; and the others. */
export function splitPositional(
  args: readonly string[],
  table: FlagTable,
): [positional: string[], flags: string[]] {
  const takesValue = (arg: string) => table[arg.replace(/^--/, "")]?.value !== undefined;
  const positional: string[] = [];
  const flags: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (!arg.startsWith("-")) positional.push(arg);
    else flags.push(...(takesValue(arg) ? args.slice(i, ++i + 1) : [arg]));
  }
  return [positional, flags];
}

/** A command line as it was typed. */
export interface RawFlags {
  /** Values by flag; empty for a flag without one. */
  readonly values: Readonly<Record<string, string>>;
  /** What belongs to no flag. */
  readonly rest: readonly string[];
}

/** Splits a command line without knowing its flags: what follows a flag is its value. */
export function rawFlags(args: readonly string[]): RawFlags {
  const values = new Map<string, string>();
  const rest: string[] = [];
  for (const arg of joinValues(args, (name) => name !== "help")) {
    const [, name, value = ""] = /^--([^=]+)(?:=(.*))?$/s.exec(arg) ?? [];
    if (name === undefined) rest.push(arg);
    else values.set(name, value);
  }
  return { values: Object.fromEntries(values), rest };
}

/**
 * Reads a command line. Of a flag that is repeated the last value counts.
 *
 * @returns What was given.
 * @throws {UsageError} naming what is wrong, and the nearest right spelling.
 */
export function parseFlags<Table extends FlagTable>(
  args: readonly string[],
  table: Table,
): FlagValues<Table> {
  const names = Object.keys(table);
  const takesValue = (name: string) => Object.hasOwn(table, name) && !isToggle(table, name);
  const toggles = names.filter((name) => isToggle(table, name));
  const joined = joinValues(args, takesValue);
  const end = joined.indexOf("--");
  if (end >= 0 && end + 1 < joined.length) { // which the parser would pass over
    throw new UsageError(`expected flags only but got "${joined[end + 1]}"`);
  }
  for (const arg of joined) refuseToggleValue(arg, table);
  const given = parseArgs(joined, {
    string: [...names.filter(takesValue), "_"],
    boolean: toggles,
    negatable: toggles,
    // undefined, not false: a toggle that is left out is not one that is off
    default: Object.fromEntries(toggles.map((name) => [name, undefined])),
    unknown: (arg, key) => {
      if (key === undefined) throw new UsageError(`expected flags only but got "${arg}"`);
      throw new UsageError(`unknown flag ${arg.split("=")[0]}${nearestFlag(key, names)}`);
    },
  }) as Record<string, unknown>;
  const values: Record<string, unknown> = {};
  for (const name of names) {
    const { aliasOf } = table[name]!;
    if (given[name] === undefined || aliasOf !== undefined) continue;
    values[name] = table[name]!.parse(String(given[name]), name);
  }
  for (const name of names) {
    const { aliasOf } = table[name]!;
    if (given[name] === undefined || aliasOf === undefined) continue;
    const value = table[aliasOf]!.parse(String(given[name]), name);
    if (values[aliasOf] !== undefined && values[aliasOf] !== value) {
      throw new UsageError(`--${name} is another name of --${aliasOf}: expected one of them only`);
    }
    values[aliasOf] = value;
  }
  return values as FlagValues<Table>;
}

function isToggle(table: FlagTable, name: string): boolean {
  return Object.hasOwn(table, name) && table[name]!.value === undefined;
}

/** Refuses `--flip=maybe` and `--no-flip=maybe`. */
function refuseToggleValue(arg: string, table: FlagTable): void {
  const [, no, name, value] = /^--(no-)?([^=]+)=(.*)$/s.exec(arg) ?? [];
  if (name === undefined || !isToggle(table, name)) return;
  if (no === undefined) table[name]!.parse(value!, name);
  else throw new UsageError(`--no-${name}: expected no value but got ${quoted(value!)}`);
}

function nearestFlag(key: string, names: readonly string[]): string {
  if (key.startsWith("no-") && names.includes(key.slice(3))) {
    return `; --${key.slice(3)} has a value and is left out instead`;
  }
  if (!/[a-z]/i.test(key)) return ""; // a number that no flag takes
  const longer = names.filter((name) => name.startsWith(key));
  const guess = longer.length === 1 ? `; did you mean ${longer[0]}?` : didYouMean(key, names);
  return guess.replace("mean ", "mean --");
}

/** A line for each flag, with its default; those of a group under its title. */
export function flagsHelp(groups: Readonly<Record<string, FlagTable>>): string {
  const left = (name: string, { value, isOptional }: Flag<unknown>) => {
    if (value === undefined) return `--${name}`;
    return isOptional ? `--${name} [${value}]` : `--${name} ${value}`;
  };
  const lines = Object.entries(groups).map(([title, table]) => {
    const rows = Object.entries(table).map(([name, flag]) => {
      const start = left(name, flag);
      const gap = start.length > 26 ? `\n${" ".repeat(30)}` : " ".repeat(28 - start.length);
      const default_ = flag.defaultText === undefined ? "" : ` (default ${flag.defaultText})`;
      return `  ${start}${gap}${flag.help}${default_}`;
    });
    return `${title}:\n${rows.join("\n")}`;
  });
  return lines.join("\n\n");
}
