/** The parser of `@std/cli`: flags in GNU style, their types given by lists of names. */

/** Options of {@linkcode parseArgs}. */
export interface ParseOptions<
  Booleans extends string = string,
  Strings extends string = string,
  Negatable extends string = string,
  Defaults extends Record<string, unknown> = Record<string, unknown>,
> {
  /** Flags that take no value and are `false` when absent. */
  boolean?: Booleans | readonly Booleans[];
  /** Values of absent flags. */
  default?: Defaults;
  /** Flags whose value stays text. */
  string?: Strings | readonly Strings[];
  /** Flags that `--no-NAME` sets to `false`. */
  negatable?: Negatable | readonly Negatable[];
  /** Sees each flag or argument that has no option; `false` drops it. */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

/** The value of one declared flag when it is present. */
type Value<K, Booleans, Negatable> = K extends Booleans ? boolean
  : string | (K extends Negatable ? false : never);

type WithDefaults<Base, Defaults> =
  & Omit<Base, keyof Defaults>
  & {
    [K in keyof Defaults]: K extends keyof Base ? Defaults[K] | NonNullable<Base[K]> : unknown;
  };

type Flags<Booleans extends string, Strings extends string, Negatable> =
  & { [K in Booleans]: Value<K, Booleans, Negatable> }
  & { [K in Strings]?: Value<K, Booleans, Negatable> };

/** What {@linkcode parseArgs} returns: the flags by name, and the rest. */
// deno-lint-ignore no-explicit-any
export type Args<Values = Record<string, any>> = Values & {
  /** Arguments that belong to no flag. */
  _: (string | number)[];
};

type Result<Booleans extends string, Strings extends string, Negatable, Defaults> =
  [Booleans | Strings] extends [never]
    // deno-lint-ignore no-explicit-any
    ? Record<string, any>
    : Record<string, unknown> & WithDefaults<Flags<Booleans, Strings, Negatable>, Defaults>;

type Tree = Record<string, unknown>;

/** Sets `a.b.c` in nested objects; a name that would reach a prototype is dropped. */
function setAt(tree: Tree, key: string, value: unknown): void {
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
  at[last] = value;
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
  Booleans extends string = never,
  Strings extends string = never,
  Negatable extends string = never,
  // deno-lint-ignore ban-types
  Defaults extends Record<string, unknown> = {},
>(
  args: readonly string[],
  options: ParseOptions<Booleans, Strings, Negatable, Defaults> = {},
): Args<Result<Booleans, Strings, Negatable, Defaults>> {
  const booleans = new Set(listOf(options.boolean));
  const strings = new Set(listOf(options.string));
  const negatable = new Set(listOf(options.negatable));

  const out: Tree & { _: (string | number)[] } = { _: [] };

  function set(key: string, value: string | boolean, arg: string): void {
    const isKnown = booleans.has(key) || strings.has(key);
    if (!isKnown && options.unknown?.(arg, key, value) === false) return;
    const isNumber = typeof value === "string" && !strings.has(key) && isNumeric(value);
    setAt(out, key, isNumber ? Number(value) : value);
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
        set(bare!, false, arg);
      } else if (next && !booleans.has(key) && !next.startsWith("-")) {
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
        } else if (isLast && next && !/^--?[^-]/.test(next) && !booleans.has(letter)) {
          set(letter, next, arg);
          i++;
        } else if (isLast && isTruth) {
          set(letter, next === "true", arg);
          i++;
        } else {
          set(letter, present(letter), arg);
        }
      }
    } else if (options.unknown?.(arg) !== false) {
      out._.push(strings.has("_") || !isNumeric(arg) ? arg : Number(arg));
    }
  }

  for (const [key, value] of Object.entries(options.default ?? {})) {
    if (!hasAt(out, key)) setAt(out, key, value);
  }
  for (const key of booleans) if (!hasAt(out, key)) setAt(out, key, false);
  out._.push(...rest);
  return out as Args<Result<Booleans, Strings, Negatable, Defaults>>;
}
