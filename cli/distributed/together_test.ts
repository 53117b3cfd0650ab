import { assert, assertEquals, assertRejects } from "@std/assert";
import { Stopped, workTogether } from "./together.ts";
import { onRanks } from "./world_test_util.ts";
import { ALONE } from "./world.ts";

Deno.test("workTogether() ends on all ranks when the last one is done", async () => {
  const gate = Promise.withResolvers<void>();
  const order: number[] = [];
  const totals: number[] = [];
  const ended = onRanks(2, async (world) => {
    let done = 0;
    const work = async () => {
      if (world.rank === 1) await gate.promise;
      done = 1 + world.rank;
    };
    const onTotal = (total: number) => {
      if (world.rank === 0) totals.push(total);
    };
    await workTogether(world, work, { done: () => done, onTotal });
    order.push(world.rank);
  });
  await new Promise((resolve) => setTimeout(resolve, 30));
  assertEquals(order, []);
  assert(totals.length > 0 && totals.every((total) => total <= 1), String(totals));
  gate.resolve();
  await ended;
  assertEquals([order.length, totals.at(-1)], [2, 3]);
});

Deno.test("workTogether() throws what the work throws, and is done at once alone", async () => {
  const failing = () => Promise.reject(new Error("no disk"));
  await assertRejects(() => workTogether(ALONE, failing), Error, "no disk");
  let done = 0;
  await workTogether(ALONE, () => Promise.resolve().then(() => void done++));
  assertEquals(done, 1);
});

Deno.test("workTogether() stops all ranks where one is asked to", async () => {
  const steps = await onRanks(3, async (world) => {
    const stop = { requested: false };
    let taken = 0;
    const work = async (isStopped: () => boolean): Promise<void> => {
      while (!isStopped()) {
        taken++;
        if (world.rank === 1) stop.requested = taken === 3;
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    };
    assertEquals(await workTogether(world, work, { stop }), true);
    return taken;
  });
  assertEquals(steps[1], 3);
});

Deno.test("workTogether() tells all ranks that one left its work", async () => {
  const isWhole = await onRanks(3, (world) => {
    const work = (): Promise<void> =>
      world.rank === 2 ? Promise.reject(new Stopped()) : Promise.resolve();
    return workTogether(world, work);
  });
  assertEquals(isWhole, [false, false, false]);
});
