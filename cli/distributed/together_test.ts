import { assert, assertEquals, assertRejects } from "@std/assert";
import { workTogether } from "./together.ts";
import { ALONE, type World } from "./world.ts";
import { onRanks } from "./world_test_util.ts";

/** Ranks of one process, which meet in every sum. */
function ranks(size: number): World[] {
  let waiting: { values: Float64Array; resolve: () => void }[] = [];
  const allReduce = (values: Float64Array): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    waiting.push({ values, resolve });
    if (waiting.length === size) {
      const all = waiting;
      waiting = [];
      const sum = values.map((_, i) => all.reduce((total, { values }) => total + values[i]!, 0));
      for (const { values, resolve } of all) {
        values.set(sum);
        resolve();
      }
    }
    return promise;
  };
  return Array.from(
    { length: size },
    (_, rank) => ({ ...ALONE, rank, size, allReduce: allReduce as World["allReduce"] }),
  );
}

Deno.test("workTogether() ends on all ranks when the last one is done", async () => {
  const [short, long] = ranks(2) as [World, World];
  const gate = Promise.withResolvers<void>();
  const order: string[] = [];
  const totals: number[] = [];
  let done = 0;
  const first = workTogether(short, () => Promise.resolve(), {
    done: () => 1,
    onTotal: (total) => totals.push(total),
  }).then(() => order.push("short"));
  const work = () => gate.promise.then(() => void (done = 2));
  const second = workTogether(long, work, { done: () => done }).then(() => order.push("long"));
  await new Promise((resolve) => setTimeout(resolve, 30));
  assertEquals(order, []);
  assert(totals.length > 0 && totals.every((total) => total === 1), String(totals));
  gate.resolve();
  await Promise.all([first, second]);
  assertEquals(totals.at(-1), 3);
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
    await workTogether(world, work, { stop });
    return taken;
  });
  assertEquals(steps[1], 3);
});
