import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { CommandError } from "../shared/errors.ts";
import { agree, anyRank } from "./agree.ts";
import { ALONE } from "./world.ts";
import { onRanks } from "./world_test_util.ts";

Deno.test("agree() names the ranks that differ, on all ranks", async () => {
  await onRanks(3, (world) => agree(world, "the data", { count: 3 }));
  const told = await onRanks(4, async (world) => {
    const value = world.rank === 2 ? "photos of 5" : "photos of 6";
    const check = agree(world, "the data", value, "copy them");
    return (await assertRejects(() => check, CommandError)).message;
  });
  const message = 'the data: expected the same on all 4 ranks but rank 2 has "photos of 5" where ' +
    'the others have "photos of 6"; copy them';
  assertEquals(told, [message, message, message, message]);
  await agree(ALONE, "anything", 1);
});

Deno.test("agree() shows long values where they differ", async () => {
  const told = await onRanks(2, async (world) => {
    const value = `${"a".repeat(300)}, ${world.rank === 1 ? "--lr 0.5" : "--lr 0.1"}, ${
      "b".repeat(300)
    }`;
    return (await assertRejects(() => agree(world, "flags", value), CommandError)).message;
  });
  assertMatch(
    told[0]!,
    /rank 1 has \.\.\.a+, --lr 0\.5, b+\.\.\. where .* \.\.\.a+, --lr 0\.1, b+\.\.\.; /,
  );
});

Deno.test("anyRank() tells all ranks that one is to stop", async () => {
  assertEquals(await onRanks(3, (world) => anyRank(world, world.rank === 1)), [true, true, true]);
  assertEquals(await onRanks(2, (world) => anyRank(world, false)), [false, false]);
  assertEquals(await anyRank(ALONE, true), true);
});
