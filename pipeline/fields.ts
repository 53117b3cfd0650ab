/** JSON of files, which may hold anything: read field by field, and refused with the field's name. */

/** A configuration, or the header of a checkpoint, that is not what it should be. */
export class ConfigError extends Error {
  static {
    this.prototype.name = "ConfigError";
  }
}

/** Fields of an object. */
export class Fields {
  /** Where they are, such as `FILE: header.training.`. */
  readonly at: string;
  /** As they are. */
  readonly values: Readonly<Record<string, unknown>>;

  /**
   * Fields of a value.
   *
   * @param at Where it is.
   * @throws {ConfigError} where it is no object.
   */
  constructor(value: unknown, at: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new ConfigError(`${at} expected an object but found ${shown(value)}`);
    }
    this.at = at;
    this.values = value as Record<string, unknown>;
  }

  /** Whether a field is there, and not null. */
  has(name: string): boolean {
    return (this.values[name] ?? null) !== null;
  }

  /** An object. */
  fields(name: string): Fields {
    const value = this.values[name];
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw this.#wrong(name, "an object");
    }
    return new Fields(value, `${this.at}${name}.`);
  }

  /** A finite number from `low` to `high`. */
  number(name: string, low = -Infinity, high = Infinity): number {
    const value = this.values[name];
    if (typeof value === "number" && Number.isFinite(value) && value >= low && value <= high) {
      return value;
    }
    const range = low === -Infinity
      ? ""
      : high === Infinity
      ? ` of ${low} or more`
      : ` from ${low} to ${high}`;
    throw this.#wrong(name, `a number${range}`);
  }

  /** A whole number of at least `least`. */
  integer(name: string, least = 0): number {
    const value = this.values[name];
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= least) return value;
    throw this.#wrong(name, `a whole number of ${least} or more`);
  }

  /** A text; one of `choices` where they are given. */
  text(name: string, choices?: readonly string[]): string {
    const value = this.values[name];
    if (typeof value === "string" && (choices?.includes(value) ?? true)) return value;
    throw this.#wrong(name, choices === undefined ? "a text" : `one of ${choices.join(", ")}`);
  }

  /** True or false. */
  toggle(name: string): boolean {
    const value = this.values[name];
    if (typeof value === "boolean") return value;
    throw this.#wrong(name, "true or false");
  }

  /** A list. */
  list(name: string): readonly unknown[] {
    const value = this.values[name];
    if (Array.isArray(value)) return value;
    throw this.#wrong(name, "a list");
  }

  /** A list of texts. */
  texts(name: string): string[] {
    return this.list(name).map((value) => {
      if (typeof value === "string") return value;
      throw this.#wrong(name, "a list of texts");
    });
  }

  /** A list of finite numbers. */
  numbers(name: string): number[] {
    return this.list(name).map((value) => {
      if (typeof value === "number" && Number.isFinite(value)) return value;
      throw this.#wrong(name, "a list of numbers");
    });
  }

  #wrong(name: string, expected: string): ConfigError {
    const { at, values } = this;
    return new ConfigError(`${at}${name}: expected ${expected} but found ${shown(values[name])}`);
  }
}

function shown(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}
