/** Checks options: JavaScript ignores misspelt names silently, and computes with NaN. */
import { valueText } from "./errors.ts";

/**
 * Refuses options that there are not.
 *
 * @param where What they were given to, for the message.
 * @param options As they were given.
 * @param known An entry for every name there is; one that is forgotten does not compile.
 * @throws {TypeError} naming the first unknown one, and the right name where only the spelling is
 * another (`hidden_size`).
 */
export function checkOptionNames<Options extends object>(
  where: string,
  options: Options,
  known: Readonly<Record<keyof Options, unknown>>,
): void {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`${where}: expected options, an object, but got ${options}`);
  }
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(known, name)) continue;
    const names = Object.keys(known);
    const meant = names.find((other) => plain(other) === plain(name));
    const advice = meant ? `did you mean ${meant}?` : `expected ${names.join(", ")}`;
    throw new TypeError(`${where}: unknown option ${name}; ${advice}`);
  }
}

/**
 * Refuses a setting that is no finite number, or below a limit.
 *
 * @param low The smallest that it may be; any by default.
 * @throws {RangeError} naming the setting.
 */
export function checkSetting(op: string, name: string, value: number, low = -Infinity): void {
  if (Number.isFinite(value) && value >= low) return;
  const range = low === -Infinity ? "a finite number" : `${low} or more`;
  const got = typeof value === "number" ? value : valueText(value);
  throw new RangeError(`${op}: expected ${name} to be ${range} but got ${got}`);
}

function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]/g, "");
}
