/** The parser of `@std/cli`: flags in GNU style, their types given by lists of names. */

/** Options of {@linkcode parseArgs}. */
export interface ParseOptions<
  Booleans extends string | boolean = string | boolean,
  Strings extends string = string,
  Collected extends string = string,
  Negatable extends string = string,
  Defaults extends Record<string, unknown> = Record<string, unknown>,
  Aliases extends Record<string, string | readonly string[]> = Record<
    string,
    string | readonly string[]
  >,
  DoubleDash extends boolean = boolean,
> {
  /** Puts what follows `--` into the result's `"--"` instead of its `_`. */
  "--"?: DoubleDash;
  /** Other names of a flag; the result holds the value under all of them. */
  alias?: Aliases;
  /** Flags that take no value and are `false` when absent; `true`: all long ones. */
  boolean?: Booleans | readonly Extract<Booleans, string>[];
  /** Values of absent flags. */
  default?: Defaults;
  /** Takes everything from the first argument that is not a flag as it is. */
  stopEarly?: boolean;
  /** Flags whose value stays text. */
  string?: Strings | readonly Strings[];
  /** Flags that may be repeated; their values come as an array. */
  collect?: Collected | readonly Collected[];
  /** Flags that `--no-NAME` sets to `false`. */
  negatable?: Negatable | readonly Negatable[];
  /** Sees each flag or argument that has no option; `false` drops it. */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

/** The value of one declared flag when it is present. */
type Value<K, Booleans, Strings, Collected, Negatable> = K extends Collected
  ? (K extends Strings ? string[] : K extends Booleans ? boolean[] : unknown[])
  : K extends Booleans ? boolean
  : string | (K extends Negatable ? false : never);

type WithDefaults<Base, Defaults> =
  & Omit<Base, keyof Defaults>
  & {
    [K in keyof Defaults]: K extends keyof Base ? Defaults[K] | NonNullable<Base[K]> : unknown;
  };

/** The other names of a flag. */
type AliasOf<K, Aliases> = K extends keyof Aliases
  ? (Aliases[K] extends readonly (infer N)[] ? N & string : Aliases[K] & string)
  : never;

type WithAliases<Base, Aliases> = {
  [K in keyof Base as K | AliasOf<K, Aliases>]: Base[K];
};

type Flags<Booleans extends string, Strings extends string, Collected extends string, Negatable> =
  & { [K in Booleans | Collected]: Value<K, Booleans, Strings, Collected, Negatable> }
  & {
    [K in Exclude<Strings, Collected>]?: Value<K, Booleans, Strings, Collected, Negatable>;
  };

/** What {@linkcode parseArgs} returns: the flags by name, and the rest. */
// deno-lint-ignore no-explicit-any
export type Args<Values = Record<string, any>, DoubleDash extends boolean = false> =
  & Values
  & {
    /** Arguments that belong to no flag. */
    _: (string | number)[];
  }
  & (DoubleDash extends true ? { "--": string[] } : unknown);

type Result<
  Booleans extends string,
  Strings extends string,
  Collected extends string,
  Negatable extends string,
  Defaults,
  Aliases,
> = [Booleans | Strings | Collected] extends [never]
  // deno-lint-ignore no-explicit-any
  ? Record<string, any>
  :
    & Record<string, unknown>
    & WithAliases<
      WithDefaults<Flags<Booleans, Strings, Collected, Negatable>, Defaults>,
      Aliases
    >;

type Tree = Record<string, unknown>;

/** Sets `a.b.c` in nested objects; a name that would reach a prototype is dropped. */
function setAt(tree: Tree, key: string, value: unknown, collect: boolean): void {
  const names = key.split(".");
  const last = names.pop()!;
  const hidden = (at: Tree, name: string): boolean =>
    name === "__proto__" || (name === "constructor" && typeof at[name] === "function");
  let at = tree;
  for (const name of names) {
    if (hidden(at, name)) return;
    at = (at[name] ??= {}) as Tree;
  }
  if (hidden(at, last)) return;
  const before = at[last];
  if (!collect) at[last] = value;
  else if (Array.isArray(before)) before.push(value);
  else at[last] = before ? [before, value] : [value];
}

function hasAt(tree: Tree, key: string): boolean {
  let at: unknown = tree;
  for (const name of key.split(".")) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, name)) return false;
    at = (at as Tree)[name];
  }
  return true;
}

function isNumeric(text: string): boolean {
  return text.trim() !== "" && Number.isFinite(Number(text));
}

function listOf(names: unknown): string[] {
  return [names].flat().filter((name): name is string => typeof name === "string" && name !== "");
}

/** A flag and its value as one argument of a cluster such as `-abn5` spells them. */
type Short = [letter: string, value: string | undefined];

/**
 * Reads `-abc` letter by letter: a letter takes the rest of the cluster as its value after `=`, when
 * the rest is a number, or when a sign follows it. The last letter may still take the next argument.
 */
function readCluster(arg: string): Short[] {
  const out: Short[] = [];
  for (let i = 1; i < arg.length; i++) {
    const letter = arg[i]!;
    const rest = arg.slice(i + 1);
    if (rest === "") {
      if (letter !== "-") out.push([letter, undefined]);
    } else if (rest === "-") {
      out.push([letter, rest]);
    } else if (rest === "=") {
      return [...out, [letter, ""]];
    } else if (/[A-Za-z]/.test(letter) && /=./s.test(rest)) {
      return [...out, [letter, /=(.+)/.exec(rest)![1]!]];
    } else if (/[A-Za-z]/.test(letter) && /-?\d+(\.\d*)?(e-?\d+)?$/.test(rest)) {
      return [...out, [letter, rest]];
    } else if (rest.length > 1 && /\W/.test(rest[0]!)) {
      return [...out, [letter, rest]];
    } else {
      out.push([letter, undefined]);
    }
  }
  return out;
}

/**
 * Reads a command line.
 *
 * `--name value`, `--name=value`, `-n value`, `-n5` and clusters `-abc` are flags; what looks like a
 * number becomes one unless the name is among `string`; dots make nested objects. Everything else,
 * and all that follows `--`, ends up in `_`.
 *
 * @param args the arguments, usually `Deno.args`
 * @param options which names are of which kind
 */
export function parseArgs<
  Booleans extends string | boolean = never,
  Strings extends string = never,
  Collected extends string = never,
  Negatable extends string = never,
  // deno-lint-ignore ban-types
  Defaults extends Record<string, unknown> = {},
  // deno-lint-ignore ban-types
  const Aliases extends Record<string, string | readonly string[]> = {},
  DoubleDash extends boolean = false,
>(
  args: readonly string[],
  options: ParseOptions<
    Booleans,
    Strings,
    Collected,
    Negatable,
    Defaults,
    Aliases,
    DoubleDash
  > = {},
): Args<
  Result<Extract<Booleans, string>, Strings, Collected, Negatable, Defaults, Aliases>,
  DoubleDash
> {
  const names = new Map<string, string[]>();
  for (const [key, value] of Object.entries(options.alias ?? {})) {
    const all = [key, ...listOf(value)];
    for (const name of all) names.set(name, all.filter((other) => other !== name));
  }
  const others = (name: string): string[] => names.get(name) ?? [];
  const withAliases = (list: unknown): Set<string> =>
    new Set(listOf(list).flatMap((name) => [name, ...others(name)]));
  const booleans = withAliases(options.boolean);
  const strings = withAliases(options.string);
  const collected = withAliases(options.collect);
  const negatable = withAliases(options.negatable);
  const allBooleans = options.boolean === true;
  const isBoolean = (key: string): boolean =>
    booleans.has(key) || others(key).some((name) => booleans.has(name));
  const isKnown = (key: string): boolean =>
    [booleans, strings, collected].some((set) => set.has(key)) || names.has(key);

  const out: Tree & { _: (string | number)[] } = { _: [] };

  function set(key: string, value: string | boolean, arg: string, collect = true): void {
    const counted = isKnown(key) || (allBooleans && /^--[^=]+$/.test(arg));
    if (!counted && options.unknown?.(arg, key, value) === false) return;
    const number = typeof value === "string" && !strings.has(key) && isNumeric(value);
    for (const name of [key, ...others(key)]) {
      setAt(out, name, number ? Number(value) : value, collect && collected.has(key));
    }
  }
  const present = (key: string): string | boolean => strings.has(key) ? "" : true;

  const end = args.indexOf("--");
  const rest = end < 0 ? [] : args.slice(end + 1);
  const line = end < 0 ? args : args.slice(0, end);

  for (let i = 0; i < line.length; i++) {
    const arg = line[i]!;
    const next = line[i + 1];
    const isTruth = next === "true" || next === "false";
    const long = /^--(no-)?(.+?)(?:=(.*))?$/s.exec(arg);

    if (long !== null) {
      const [, no = "", bare, value] = long;
      const key = no !== "" && value === undefined ? no + bare : bare!;
      if (value !== undefined) {
        set(key, booleans.has(key) ? String(value !== "false") === "true" : value, arg);
      } else if (no !== "" && negatable.has(bare!)) {
        set(bare!, false, arg, false);
      } else if (next && !isBoolean(key) && !allBooleans && !next.startsWith("-")) {
        set(key, next, arg);
        i++;
      } else if (isTruth) {
        set(key, next === "true", arg);
        i++;
      } else {
        set(key, present(key), arg);
      }
    } else if (/^-./s.test(arg)) {
      const cluster = readCluster(arg);
      for (const [j, [letter, value]] of cluster.entries()) {
        const isLast = j === cluster.length - 1 && arg.endsWith(letter);
        if (value !== undefined) {
          set(letter, value, arg);
        } else if (isLast && next && !/^--?[^-]/.test(next) && !isBoolean(letter)) {
          set(letter, next, arg);
          i++;
        } else if (isLast && isTruth) {
          set(letter, next === "true", arg);
          i++;
        } else {
          set(letter, present(letter), arg);
        }
      }
    } else {
      if (options.unknown?.(arg) !== false) {
        out._.push(strings.has("_") || !isNumeric(arg) ? arg : Number(arg));
      }
      if (options.stopEarly) {
        out._.push(...line.slice(i + 1));
        break;
      }
    }
  }

  for (const [key, value] of Object.entries(options.default ?? {})) {
    if (hasAt(out, key)) continue;
    for (const name of [key, ...others(key)]) setAt(out, name, value, false);
  }
  for (const key of booleans) {
    if (!hasAt(out, key)) setAt(out, key, collected.has(key) ? [] : false, false);
  }
  for (const key of collected) {
    if (strings.has(key) && !hasAt(out, key)) setAt(out, key, [], false);
  }
  if (options["--"]) out["--"] = rest;
  else out._.push(...rest);
  return out as Args<
    Result<Extract<Booleans, string>, Strings, Collected, Negatable, Defaults, Aliases>,
    DoubleDash
  >;
}
