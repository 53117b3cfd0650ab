import { assert, assertEquals, assertRejects } from "@std/assert";
import { inRounds, type Share } from "./rounds.ts";
import { ALONE, type World } from "./world.ts";
import { onRanks } from "./world_test_util.ts";

/** Steps of two items each; `onStep` is told before each. */
function share(count: number, onStep: (step: number) => void | Promise<void> = () => {}): Share {
  const steps = async function* (): Share["steps"] {
    for (let step = 0; step < count; step++) {
      await onStep(step);
      yield 2;
    }
  };
  return { steps: steps(), count, items: 2 * count };
}

const GO_ON = { stop: { requested: false }, onProgress() {} };

Deno.test("ranks with unequal shares go through all of them, and each hears of all", async () => {
  const counts = [3, 0, 5];
  const ended = await onRanks(3, async (world) => {
    const heard: number[] = [];
    const onProgress = (done: number) => void heard.push(done);
    const whole = await inRounds(world, share(counts[world.rank]!), { ...GO_ON, onProgress });
    return { whole, heard };
  });
  for (const end of ended) assertEquals(end, { whole: true, heard: [4, 8, 12, 14, 16] });
});

Deno.test("a rank that is asked to stop stops all ranks, at most a step later", async () => {
  const taken = [0, 0, 0];
  const ended = await onRanks(3, (world) => {
    const stop = { requested: false };
    const work = share(10, (step) => {
      taken[world.rank]!++;
      if (world.rank === 1 && step === 3) stop.requested = true;
    });
    return inRounds(world, work, { ...GO_ON, stop });
  });
  assertEquals(ended, [false, false, false]);
  assertEquals(taken, [5, 4, 5]);
});

Deno.test("alone, a stop ends the work after the step, unless it was the last", async () => {
  for (const [last, whole] of [[4, true], [3, false]] as const) {
    const stop = { requested: false };
    let taken = 0;
    const work = share(5, (step) => {
      taken++;
      stop.requested = step === last;
    });
    assertEquals(await inRounds(ALONE, work, { ...GO_ON, stop }), whole);
    assertEquals(taken, last + 1);
  }
});

Deno.test("no rank is more than a step ahead of another", async () => {
  const taken = [0, 0];
  const slowly = () => new Promise<void>((resolve) => setTimeout(resolve));
  await onRanks(2, (world) => {
    const work = share(6, async () => {
      if (world.rank === 1) await slowly();
      assert(taken[world.rank]! <= taken[1 - world.rank]! + 1, String(taken));
      taken[world.rank]!++;
    });
    return inRounds(world, work, GO_ON);
  });
  assertEquals(taken, [6, 6]);
});

Deno.test("a step or a message that fails ends the rounds with its error", async () => {
  const fails = share(3, (step) => {
    if (step === 1) throw new Error("step 1");
  });
  await assertRejects(() => inRounds(ALONE, fails, GO_ON), Error, "step 1");
  let calls = 0;
  const broken: World = {
    ...ALONE,
    size: 2,
    allReduce: () => ++calls === 3 ? Promise.reject(new Error("lost")) : Promise.resolve(),
  };
  await assertRejects(() => inRounds(broken, share(3), GO_ON), Error, "lost");
});
