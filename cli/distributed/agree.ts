/** What ranks have to agree on, and how they do. */
import { CommandError } from "../shared/errors.ts";
import type { World } from "./world.ts";

/**
 * Makes sure that all ranks have the same value, such as settings or a fingerprint of the data.
 * Collective: every rank calls it, and all throw or none.
 *
 * @param what What it is, for the message: `the data in photos`.
 * @param value Anything that JSON can hold; a long one is better hashed first.
 * @param advice What to do where they differ.
 * @throws {CommandError} where it differs, with the ranks that have another value than most.
 */
export async function agree(
  world: World,
  what: string,
  value: unknown,
  advice = "start all ranks alike",
): Promise<void> {
  if (world.size === 1) return;
  const own = new TextEncoder().encode(JSON.stringify(value) ?? "undefined");
  const texts = (await world.allGather(own)).map((bytes) => new TextDecoder().decode(bytes));
  const { usual, odd } = oddOnes(texts);
  if (odd.length === 0) return;
  const other = texts[odd[0]!]!;
  const at = firstDifference(other, usual);
  const those = odd.length > 1 ? `ranks ${odd.join(", ")} have` : `rank ${odd[0]} has`;
  throw new CommandError(
    `${what}: expected the same on all ${world.size} ranks but ${those} ` +
      `${around(other, at)} where the others have ${around(usual, at)}; ${advice}`,
  );
}

/** The value that most have, the one of the lowest rank among equals, and who has another one. */
function oddOnes(texts: readonly string[]): { usual: string; odd: number[] } {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  const [usual] = [...counts].reduce((best, next) => next[1] > best[1] ? next : best);
  return { usual, odd: [...texts.keys()].filter((rank) => texts[rank] !== usual) };
}

/** Characters of a value that a message shows, and of those before what differs. */
const SHOWN = 120;
const BEFORE = 40;

function firstDifference(a: string, b: string): number {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at++;
  return at;
}

/** What stands around a place in a text. */
function around(text: string, at: number): string {
  const begin = text.length <= SHOWN ? 0 : Math.max(0, at - BEFORE);
  const end = begin + SHOWN;
  const before = begin > 0 ? "..." : "";
  return `${before}${text.slice(begin, end)}${end < text.length ? "..." : ""}`;
}

/**
 * Whether any rank is to stop, so that all stop after the same step. Collective, and best called
 * once a step on every rank; a world of one does nothing.
 *
 * @param stop Whether this rank was asked to.
 */
export async function anyRank(world: World, stop: boolean): Promise<boolean> {
  if (world.size === 1) return stop;
  const flag = Int32Array.of(stop ? 1 : 0);
  await world.allReduce(flag, "max");
  return flag[0] === 1;
}
