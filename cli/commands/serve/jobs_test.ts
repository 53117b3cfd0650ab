import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { BusyError, Jobs } from "./jobs.ts";

const never = new AbortController().signal;

Deno.test("jobs work one after the other, and those that wait know how many are before them", async () => {
  const jobs = new Jobs(10);
  const told: string[] = [];
  const gates = Array.from({ length: 4 }, () => Promise.withResolvers<void>());
  const leave = new AbortController();
  const runs = gates.map(({ promise }, i) =>
    jobs.run(
      i === 2 ? leave.signal : never,
      (ahead) => told.push(`${i} waits for ${ahead}`),
      async () => {
        told.push(`${i} begins`);
        await promise;
        if (i === 1) throw new Error("failed");
      },
    )
  );
  assertEquals(told, ["0 begins", "1 waits for 1", "2 waits for 2", "3 waits for 3"]);
  assertEquals(jobs.length, 4);
  told.length = 0;
  leave.abort(new Error("left"));
  await assertRejects(() => runs[2]!, Error, "left");
  assertEquals(told, ["1 waits for 1", "3 waits for 2"]);
  told.length = 0;
  gates.forEach(({ resolve }) => resolve());
  await assertRejects(() => runs[1]!, Error, "failed");
  await Promise.all([runs[0], runs[3]]);
  assertEquals(told, ["3 waits for 1", "1 begins", "3 begins"]);
  assertEquals(jobs.length, 0);
  await assertRejects(() => jobs.run(leave.signal, () => {}, async () => {}), Error, "left");
});

Deno.test("there are places for one at work and as many as may wait, until they are given back", () => {
  const jobs = new Jobs(1);
  const [first] = [jobs.take(), jobs.take()];
  assertThrows(() => jobs.check(), BusyError);
  assertThrows(() => jobs.take(), BusyError, "(1); try again");
  first[Symbol.dispose]();
  first[Symbol.dispose](); // once is enough
  jobs.take()[Symbol.dispose]();
  jobs.take();
  assertThrows(() => jobs.take(), BusyError);
});
