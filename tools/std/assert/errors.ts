import { AssertionError, because } from "./assertion_error.ts";

// deno-lint-ignore no-explicit-any
type ErrorType<E extends Error> = abstract new (...args: any[]) => E;

/** The arguments that follow the function, in whichever of the two forms they came. */
interface Expectation<E extends Error> {
  type: ErrorType<E> | undefined;
  includes: string | undefined;
  msg: string | undefined;
}

function expectation<E extends Error>(
  typeOrMsg: ErrorType<E> | string | undefined,
  includes: string | undefined,
  msg: string | undefined,
): Expectation<E> {
  return typeof typeOrMsg === "string"
    ? { type: undefined, includes: undefined, msg: typeOrMsg }
    : { type: typeOrMsg, includes, msg };
}

function check<E extends Error>(error: unknown, expected: Expectation<E>, verb: string): unknown {
  if (expected.type === undefined) return error;
  if (!(error instanceof Error)) {
    throw new AssertionError(`A non-Error object was ${verb}${because(expected.msg)}`);
  }
  assertIsError(error, expected.type, expected.includes, expected.msg);
  return error;
}

/** A message without the escape sequences that colour it. */
function plain(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replaceAll(/\x1b\[[0-9;]*m/g, "");
}

/** Asserts that a value is an error, of a class and with a message if those are given. */
function assertIsError<E extends Error = Error>(
  error: unknown,
  ErrorClass?: ErrorType<E>,
  msgMatches?: string | RegExp,
  msg?: string,
): asserts error is E {
  if (!(error instanceof Error)) {
    throw new AssertionError(`Expected "error" to be an Error object${because(msg)}`);
  }
  if (ErrorClass !== undefined && !(error instanceof ErrorClass)) {
    throw new AssertionError(
      `Expected error to be instance of "${ErrorClass.name}", ` +
        `but was "${error.constructor.name}"${because(msg)}`,
    );
  }
  if (msgMatches === undefined || msgMatches === "") return;
  const found = plain(error.message);
  const matches = typeof msgMatches === "string"
    ? found.includes(plain(msgMatches))
    : msgMatches.test(found);
  if (matches) return;
  const wanted = typeof msgMatches === "string" ? JSON.stringify(msgMatches) : `${msgMatches}`;
  throw new AssertionError(
    `Expected error message to include ${wanted}, ` +
      `but got ${JSON.stringify(error.message)}${because(msg)}`,
  );
}

/** Asserts that a function throws; returns what it threw. */
export function assertThrows(fn: () => unknown, msg?: string): unknown;
/** Asserts that a function throws an error of a class, with a message if that is given. */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  ErrorClass: ErrorType<E>,
  msgIncludes?: string,
  msg?: string,
): E;
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  typeOrMsg?: ErrorType<E> | string,
  msgIncludes?: string,
  msg?: string,
): unknown {
  const expected = expectation(typeOrMsg, msgIncludes, msg);
  try {
    fn();
  } catch (error) {
    return check(error, expected, "thrown");
  }
  throw new AssertionError(`Expected function to throw${because(expected.msg)}`);
}

/** Asserts that a function's promise rejects; resolves to what it rejected with. */
export function assertRejects(fn: () => PromiseLike<unknown>, msg?: string): Promise<unknown>;
/** Asserts that a function's promise rejects with an error of a class, and a message if given. */
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  ErrorClass: ErrorType<E>,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
export async function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  typeOrMsg?: ErrorType<E> | string,
  msgIncludes?: string,
  msg?: string,
): Promise<unknown> {
  const expected = expectation(typeOrMsg, msgIncludes, msg);
  let promise: PromiseLike<unknown> | undefined;
  try {
    promise = fn();
  } catch {
    // Thrown before there was a promise: reported below.
  }
  if (typeof promise?.then !== "function") {
    throw new AssertionError(`Function throws when expected to reject${because(expected.msg)}`);
  }
  try {
    await promise;
  } catch (error) {
    return check(error, expected, "rejected");
  }
  throw new AssertionError(`Expected function to reject${because(expected.msg)}`);
}
