import { assertEquals, assertRejects } from "@std/assert";
import { diskTest } from "../../tests/fixtures.ts";
import { CommandError } from "../shared/errors.ts";
import { fromRankZero, gather, inTurn, requireSharedFolder } from "./share.ts";
import { ALONE } from "./world.ts";
import { onRanks } from "./world_test_util.ts";

Deno.test("gather() gives the values of all ranks, by rank", async () => {
  const all = await onRanks(3, (world) => gather(world, { its: "ä".repeat(world.rank) }));
  for (const values of all) assertEquals(values, [{ its: "" }, { its: "ä" }, { its: "ää" }]);
  assertEquals(await gather(ALONE, 1), [1]);
});

Deno.test("fromRankZero() makes a value on rank 0 only, and gives it to all", async () => {
  const makers: number[] = [];
  const all = await onRanks(3, (world) =>
    fromRankZero(world, () => {
      makers.push(world.rank);
      return Promise.resolve([world.rank, "made"]);
    }));
  assertEquals(all, [[0, "made"], [0, "made"], [0, "made"]]);
  assertEquals(makers, [0]);
});

Deno.test("inTurn() lets rank 0 find first, then one rank of each machine", async () => {
  const order: number[] = [];
  const found = await onRanks(4, (world) =>
    // two machines of two ranks each
    inTurn({ ...world, localRank: world.rank % 2, barrier: () => world.barrier() }, async () => {
      await new Promise((resolve) => setTimeout(resolve, 5 * (4 - world.rank)));
      order.push(world.rank);
      return `file ${world.rank}`;
    }));
  assertEquals(found, ["file 0", "file 1", "file 2", "file 3"]);
  assertEquals(order.slice(0, 2), [0, 2]);
});

diskTest("a folder is shared where all ranks see what rank 0 writes", async (folder) => {
  const files = () => Array.fromAsync(Deno.readDir(`${folder}/out`), ({ name }) => name);
  await onRanks(3, (world) => requireSharedFolder(world, "--out", `${folder}/out`));
  assertEquals(await files(), []);
  await assertRejects(
    () =>
      onRanks(3, (world) => {
        const own = world.rank === 2 ? "elsewhere" : "out";
        return requireSharedFolder(world, "--out", `${folder}/${own}`);
      }),
    CommandError,
    "expected a folder that all machines share, but rank 2 does not see what rank 0 writes there",
  );
  assertEquals(await files(), []);
});
