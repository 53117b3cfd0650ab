import { assertEquals } from "@std/assert";
import { PATIENCE, patienceOf } from "./patience.ts";

const { LEAST, MOST, FEWEST_SHORT, MOST_SHORT } = PATIENCE;

/** How many waits in a row are short from now on, each of which is in vain. */
function shortWaits(patience: ReturnType<typeof patienceOf>): number {
  let count = 0;
  for (; patience.polls() === LEAST; count++) patience.note(LEAST, false);
  return count;
}

Deno.test("a thread polls for long until that is in vain, and then less and less often", () => {
  const patience = patienceOf(PATIENCE);
  assertEquals(patience.polls(), MOST);
  patience.note(LEAST + 1, true);
  patience.note(10, true);
  assertEquals(patience.polls(), MOST);
  for (let short: number = FEWEST_SHORT; short < 4 * MOST_SHORT; short *= 2) {
    patience.note(MOST, false);
    assertEquals(shortWaits(patience), Math.min(short, MOST_SHORT));
    assertEquals(patience.polls(), MOST);
    patience.note(10, true); // it came at once, which says nothing of long waits
  }
  patience.note(LEAST + 1, true); // a long one was worth it
  patience.note(MOST, false);
  assertEquals(shortWaits(patience), FEWEST_SHORT);
});
