/**
 * Settings of a command as a table: a row a flag says how its value is called where settings are
 * stored, what holds where it is left out, and what becomes of it when a run is resumed. Types,
 * defaults, help, resuming and reading older settings derive from it.
 */
import { CommandError, UsageError } from "./errors.ts";
import { type Flag, type FlagTable, type FlagValues, type ValueOf, valueText } from "./flags.ts";

/** Whose defaults: those of small models, or the original's (train.py) for the paper's models. */
export type Preset = "small" | "original";

/**
 * What `--resume` does with a flag:
 * - `kept`: it decides the run's numbers, and only the value that the run has is accepted;
 * - `changeable`: it may be changed, but `--resume auto` resumes a run with the same value only;
 * - `free`: it may be changed, and says nothing about which run it is.
 */
export type OnResume = "kept" | "changeable" | "free";

/** A flag whose value is stored with a run. */
export interface Setting<T, Key extends string = string, Stored = T> extends Flag<T> {
  /** What the value is called in stored settings. */
  readonly key: Key;
  /** What holds where it is left out. */
  readonly defaults: Readonly<Record<Preset, Stored>>;
  /** Whether its default is known only when the data are open: null is stored until then. */
  readonly awaitsData: boolean;
  readonly onResume: OnResume;
  /** What settings stand for that were stored before there was this key; undefined: none were. */
  readonly whenAbsent?: Stored;
  /** Whether two values mean the same; equality by default. */
  same?(a: T, b: T): boolean;
}

/** What a row says beside its flag. */
type Row<Key extends string, T, Stored> =
  & {
    readonly key: Key;
    /** Said instead of the default, where that is no plain value. */
    readonly defaultText?: string;
    /** Said after the default: when it is another one. */
    readonly defaultNote?: string;
    /** `kept` by default. */
    readonly onResume?: OnResume;
    readonly whenAbsent?: Stored;
    readonly same?: (a: T, b: T) => boolean;
  }
  & (
    | { readonly default: Stored; readonly small?: never; readonly original?: never }
    | { readonly small: Stored; readonly original: Stored; readonly default?: never }
  );

/** A flag whose value is stored with a run. */
export function setting<F extends Flag<unknown>, const Key extends string>(
  flag: F,
  row: Row<Key, ValueOf<F>, ValueOf<F>>,
): Setting<ValueOf<F>, Key>;
export function setting<F extends Flag<unknown>, const Key extends string>(
  flag: F,
  row: Row<Key, ValueOf<F>, ValueOf<F> | null> & { readonly awaitsData?: true },
): Setting<ValueOf<F>, Key, ValueOf<F> | null>;
export function setting<T>(
  flag: Flag<T>,
  row: Row<string, T, T | null> & { readonly awaitsData?: true },
): Setting<T, string, T | null> {
  const { key, whenAbsent, same, awaitsData = false, onResume = "kept" } = row;
  const defaults = row.default === undefined
    ? { small: row.small!, original: row.original! }
    : { small: row.default, original: row.default };
  const note = row.defaultNote === undefined ? "" : `; ${row.defaultNote}`;
  return {
    ...flag,
    key,
    defaults,
    awaitsData,
    onResume,
    ...(whenAbsent === undefined ? {} : { whenAbsent }),
    ...(same === undefined ? {} : { same }),
    defaultText: row.defaultText ?? defaultsText(defaults) + note,
  };
}

/** Such as "0.001, or 0.0001 for the paper's models". */
export function defaultsText({ small, original }: Readonly<Record<Preset, unknown>>): string {
  if (valueText(small) === valueText(original)) return valueText(small);
  return `${valueText(small)}, or ${valueText(original)} for the paper's models`;
}

/** The settings that a table describes, by their stored names. */
export type SettingsOf<Table extends FlagTable> = {
  readonly [
    // deno-lint-ignore no-explicit-any
    Name in keyof Table as Table[Name] extends Setting<any, infer Key, any> ? Key : never
  ]:
    // deno-lint-ignore no-explicit-any
    Table[Name] extends Setting<any, any, infer Stored> ? Stored : never;
};

/** The rows of a table whose values are stored. */
export function settingRows(table: FlagTable): [name: string, row: Setting<unknown>][] {
  return Object.entries(table).filter(([, row]) => "key" in row) as [string, Setting<unknown>][];
}

/** Settings of a new run: what was given, and defaults. */
export function settingsFrom<Table extends FlagTable>(
  table: Table,
  flags: FlagValues<Table>,
  preset: Preset = "small",
): SettingsOf<Table> {
  const given = flags as Readonly<Record<string, unknown>>;
  return Object.fromEntries(
    settingRows(table).map(([name, row]) => [
      row.key,
      given[name] ?? (row.awaitsData ? null : row.defaults[preset]),
    ]),
  ) as SettingsOf<Table>;
}

/**
 * Settings that were stored with a run, those of before a flag existed included.
 *
 * @param where Where they are stored, for the message.
 * @throws {CommandError} where a value is missing or none that the flag takes.
 */
export function readSettings<Table extends FlagTable>(
  table: Table,
  stored: unknown,
  where = "the run",
): SettingsOf<Table> {
  const fail = (key: string, got: unknown) =>
    new CommandError(`${where}: expected settings with ${key} but got ${JSON.stringify(got)}`);
  if (typeof stored !== "object" || stored === null) throw fail("their names", stored);
  const settings: Record<string, unknown> = { ...stored };
  for (const [name, row] of settingRows(table)) {
    if (settings[row.key] === undefined) settings[row.key] = row.whenAbsent;
    const value = settings[row.key];
    const isNull = value === null &&
      (row.awaitsData || row.defaults.small === null || row.defaults.original === null);
    if (isNull) continue;
    let read: unknown;
    try {
      read = row.parse(String(value), name); // as it was read when it was given
    } catch (error) {
      if (error instanceof UsageError) throw fail(row.key, value);
      throw error;
    }
    if (!isEqual(read, value)) throw fail(row.key, value); // such as "5" for 5, or null for a text
  }
  return settings as SettingsOf<Table>;
}

/**
 * Settings of a run that is resumed: its own, but for those that may be changed.
 *
 * @param valueOf The run's own value of a flag that is stored elsewhere than in its settings;
 * undefined for a flag that a run does not store.
 * @throws {UsageError} where a flag that decides the run's numbers has another value than the run.
 */
export function resumeSettings<Table extends FlagTable>(
  table: Table,
  before: SettingsOf<Table>,
  flags: FlagValues<Table>,
  valueOf: (row: Flag<unknown>) => unknown = () => undefined,
): SettingsOf<Table> {
  const own = readSettings(table, before) as Readonly<Record<string, unknown>>;
  const settings: Record<string, unknown> = { ...own };
  for (const [name, given] of Object.entries(flags)) {
    const row = table[name]!;
    const { key, onResume, same = isEqual } = row as Partial<Setting<unknown>>;
    const value = key === undefined ? valueOf(row) : own[key];
    if (key === undefined && value === undefined) continue;
    if (onResume !== "changeable" && onResume !== "free" && !same(given, value)) {
      throw new UsageError(
        `--${name}: the run has ${valueText(value)} but got ${valueText(given)}; ` +
          "--resume continues a run as it was",
      );
    }
    if (key !== undefined) settings[key] = given;
  }
  return settings as SettingsOf<Table>;
}

/**
 * Whether settings are those of the same run: equal but for what says nothing about that.
 *
 * @param isOpen Whether a value of `a` is not decided yet, and the one of `b` may stand for it.
 */
export function sameSettings<Table extends FlagTable>(
  table: Table,
  a: SettingsOf<Table>,
  b: SettingsOf<Table>,
  isOpen: (key: keyof SettingsOf<Table>) => boolean = () => false,
): boolean {
  const [left, right] = [a, b] as Readonly<Record<string, unknown>>[];
  return settingRows(table).every(([, { key, onResume, same = isEqual }]) =>
    onResume === "free" || isOpen(key as keyof SettingsOf<Table>) ||
    same(left![key], right![key])
  );
}

/** Whether two plain values are equal. */
export function isEqual(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/**
 * The warm-up of a new run: as given, or a tenth of the run at most.
 *
 * @throws {UsageError} where it was given and the run is shorter.
 */
export function warmupOf(given: number | undefined, usual: number, steps: number): number {
  if (given === undefined) return Math.min(usual, Math.floor(steps / 10));
  if (given <= steps) return given;
  throw new UsageError(
    `--warmup: expected ${steps} at most, the number of steps, but got ${given}`,
  );
}

/**
 * Refuses a batch that is larger than the data.
 *
 * @param name The flag that says it.
 * @throws {UsageError}
 */
export function refuseLargeBatch(name: string, batchSize: number, examples: number): void {
  if (batchSize <= examples) return;
  throw new UsageError(
    `--${name}: expected ${examples} at most, the number of examples, but got ${batchSize}`,
  );
}
