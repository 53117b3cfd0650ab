/** `expect(value).toBe(other)` and its kin, as a table of named questions. */
import { AssertionError, equal } from "../assert/mod.ts";

// deno-lint-ignore no-explicit-any
type AnyConstructor = new (...args: any[]) => any;

type Answers<IsAsync> = IsAsync extends true ? Promise<void> : void;

/** What {@linkcode expect} returns. */
export interface Expected<IsAsync = false> {
  /** The same value by `Object.is`. */
  toBe(expected: unknown): Answers<IsAsync>;
  /** Equal in structure, keys that hold `undefined` left out. */
  toEqual(expected: unknown): Answers<IsAsync>;
  /** `value > expected`. */
  toBeGreaterThan(expected: number): Answers<IsAsync>;
  /** `value < expected`. */
  toBeLessThan(expected: number): Answers<IsAsync>;
  /** An instance of a class. */
  toBeInstanceOf<T extends AnyConstructor>(expected: T): Answers<IsAsync>;
  /** Holds this very item or text. */
  toContain(expected: unknown): Answers<IsAsync>;
  /** Text that a pattern matches. */
  toMatch(expected: RegExp): Answers<IsAsync>;
  /** A function that throws, or a promise's error: of this class, or with this in its message. */
  toThrow<E extends Error = Error>(
    // deno-lint-ignore no-explicit-any
    expected?: string | RegExp | E | (new (...args: any[]) => E),
  ): Answers<IsAsync>;
  /** The opposite of the next question. */
  not: Expected<IsAsync>;
  /** Asks about the value that a promise resolves to. */
  resolves: Expected<true>;
  /** Asks about the error that a promise rejects with. */
  rejects: Expected<true>;
}

type Matcher = Exclude<keyof Expected, "not" | "resolves" | "rejects">;
type Tree = Record<PropertyKey, unknown>;

function isPlain(value: unknown): value is Tree {
  return typeof value === "object" && value !== null &&
    [Object.prototype, null].includes(Object.getPrototypeOf(value));
}

/** A copy of plain objects and arrays without the keys that hold `undefined`. */
function pruned(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(pruned);
  if (!isPlain(value)) return value;
  const held = Object.entries(value).filter(([, item]) => item !== undefined);
  return Object.fromEntries(held.map(([key, item]) => [key, pruned(item)]));
}

/** Whether what was thrown is what was expected. */
function isThrown(error: unknown, expected: unknown): boolean {
  if (expected === undefined) return true;
  if (typeof expected === "function") return error instanceof expected;
  const message = error instanceof Error ? error.message : String(error);
  if (typeof expected === "string") return message.includes(expected);
  if (expected instanceof RegExp) return expected.test(message);
  return error instanceof Error && expected instanceof Error &&
    error instanceof expected.constructor && message.includes(expected.message);
}

function throws(value: unknown, expected: unknown): boolean {
  // After `rejects` the value is the error itself.
  if (typeof value !== "function") return isThrown(value, expected);
  try {
    value();
  } catch (error) {
    return isThrown(error, expected);
  }
  return false;
}

// deno-lint-ignore no-explicit-any
const matchers: Record<Matcher, (value: any, ...args: any[]) => boolean> = {
  toBe: (value, expected) => Object.is(value, expected),
  toEqual: (value, expected) => equal(pruned(value), pruned(expected)),
  toBeGreaterThan: (value, expected) => Number(value) > expected,
  toBeLessThan: (value, expected) => Number(value) < expected,
  toBeInstanceOf: (value, expected) => value instanceof expected,
  toContain: (value, expected) => Boolean(value?.includes?.(expected)),
  toMatch: (value, expected) => expected.test(String(value)),
  toThrow: throws,
};

function show(value: unknown): string {
  return Deno.inspect(value, { depth: Infinity, sorted: true });
}

/** Resolves to what a promise rejects with. */
async function rejection(promise: PromiseLike<unknown>): Promise<unknown> {
  let value: unknown;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new AssertionError(`Promise did not reject: resolved to ${value}`);
}

/**
 * Starts a question about a value.
 *
 * @param value the value in question
 * @param customMessage goes before what a failed answer says
 */
export function expect(value: unknown, customMessage?: string): Expected {
  let isNot = false;
  let promise: Promise<unknown> | undefined;

  const ask = (name: Matcher, value: unknown, args: unknown[]): void => {
    if (matchers[name](value, ...args) !== isNot) return;
    const said = customMessage ? `${customMessage}: ` : "";
    throw new AssertionError(
      `${said}Expected ${show(value)}${isNot ? " not" : ""} ${name} ${args.map(show).join(", ")}`,
    );
  };
  const settle = (take: (promise: PromiseLike<unknown>) => Promise<unknown>): Expected<true> => {
    if (typeof (value as PromiseLike<unknown> | undefined)?.then !== "function") {
      throw new AssertionError("Expected value must be PromiseLike");
    }
    promise = take(value as PromiseLike<unknown>);
    return self as unknown as Expected<true>;
  };

  const questions = Object.fromEntries(
    (Object.keys(matchers) as Matcher[]).map((name) => [
      name,
      (...args: unknown[]) =>
        promise === undefined
          ? ask(name, value, args)
          : promise.then((settled) => ask(name, settled, args)),
    ]),
  );
  const self = Object.defineProperties(questions, {
    not: {
      get() {
        isNot = !isNot;
        return self;
      },
    },
    resolves: { get: () => settle(async (promise) => await promise) },
    rejects: { get: () => settle(rejection) },
  }) as unknown as Expected;
  return self;
}
