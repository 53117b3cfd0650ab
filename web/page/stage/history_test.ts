import { assert, assertEquals } from "@std/assert";
import { History } from "./history.ts";

const picture = (bytes: number) => ({ width: 1, height: 1, rgba: new Uint8ClampedArray(bytes) });

Deno.test("moments stay within the memory that there is, the last one among them", () => {
  const history = new History(100);
  for (let step = 0; step <= 50; step++) history.add({ step, pictures: [picture(10)] });
  const steps = history.moments.map(({ step }) => step);
  assert(steps.length >= 4 && steps.length <= 10, String(steps));
  assertEquals([steps[0], steps.at(-1)], [0, 50]);
  assert(steps.every((step, i) => i === 0 || step > steps[i - 1]!));
});

Deno.test("a moment without new pictures is none, and one of the same step takes its place", () => {
  const history = new History(1000);
  const pictures = [picture(4)];
  history.add({ step: 0, pictures: [] });
  history.add({ step: 1, pictures });
  history.add({ step: 2, pictures });
  assertEquals(history.moments.map(({ step }) => step), [1]);
  const finished = [picture(4)];
  history.add({ step: 1, pictures: finished });
  assertEquals(history.moments, [{ step: 1, pictures: finished }]);
});
