import { assert, assertEquals } from "@std/assert";
import { giveWay } from "./turns.ts";

/** A computation that blocks the thread. */
function compute(): void {
  const end = performance.now() + 5;
  while (performance.now() < end);
}

Deno.test("timers that are due, and what follows them, get their turn between computations", async () => {
  const seen: string[] = [];
  const timer = setTimeout(() => {
    seen.push("timer");
    queueMicrotask(() => seen.push("after it"));
  }, 0);
  compute();
  assertEquals(seen, []);
  await giveWay();
  assertEquals(seen, ["timer", "after it"]);
  clearTimeout(timer);
});

Deno.test("a thread's answer comes in between computations, however many there are", async () => {
  const script = "onmessage = ({ data }) => postMessage(data + 1);";
  const worker = new Worker(`data:text/javascript,${script}`, { type: "module" });
  let answer: number | undefined;
  worker.onmessage = ({ data }) => answer = data;
  worker.postMessage(41);
  for (let step = 0; step < 2000 && answer === undefined; step++) {
    compute();
    await giveWay();
  }
  worker.terminate();
  assert(answer === 42, `${answer}`);
});
