import { assertEquals, assertRejects } from "@std/assert";
import { diskTest } from "../../tests/fixtures.ts";
import { CommandError } from "../shared/errors.ts";
import { fromRankZero, gather, requireSharedFolder } from "./share.ts";
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
