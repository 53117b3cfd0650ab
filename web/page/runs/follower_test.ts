import { assertEquals } from "@std/assert";
import type { MetricsPart, Runs } from "../../runs.ts";
import { Follower } from "./follower.ts";
import { lastOfTraining, measuresOf } from "./measured.ts";

const line = (step: number) => ({ step, loss: 1 / step });

/** Runs whose parts are given one after the other; `asked` has what they were asked for. */
function runsOf(parts: MetricsPart[], asked: (string | undefined)[]): Runs {
  return {
    list: () => Promise.resolve([]),
    metrics: (_, after) => {
      asked.push(after);
      return Promise.resolve(parts.shift()!);
    },
    picturesUrl: () => "",
  };
}

Deno.test("a run is read to its end, then on from there, and anew where it was begun anew", async () => {
  const asked: (string | undefined)[] = [];
  const follower = new Follower(
    runsOf([
      { lines: [line(1), line(2)], isFromStart: true, next: "a", hasMore: true },
      { lines: [line(3)], isFromStart: false, next: "b", hasMore: false },
      { lines: [], isFromStart: false, next: "b", hasMore: false },
      { lines: [line(1)], isFromStart: true, next: "c", hasMore: false },
    ], asked),
    "000-x",
  );
  const { signal } = new AbortController();
  assertEquals(await follower.read(signal), true);
  assertEquals(follower.lines.map(({ step }) => step), [1, 2, 3]);
  assertEquals(await follower.read(signal), false);
  assertEquals(await follower.read(signal), true);
  assertEquals(follower.lines, [line(1)]);
  assertEquals(asked, [undefined, "a", "b", "b"]);
});

Deno.test("the loss is charted first, evaluations next, and counters not at all", () => {
  const lines = [
    { step: 1, loss: 1, lr: 1, seconds: 2, peakBytes: 5 },
    { step: 2, loss: 1, evalLoss: 3, imagesPerSecond: 4, seconds: 3 },
    { step: 2, frechetDistance: 3, recall: 0.5, samples: 250, seconds: 9 },
  ];
  assertEquals(measuresOf(lines).map(({ title }) => title), [
    ...["Loss", "Fréchet distance", "Recall", "Eval loss", "Speed", "Learning rate"],
  ]);
  assertEquals(measuresOf([]), []);
  assertEquals(lastOfTraining(lines)!.seconds, 3);
  assertEquals(lastOfTraining([]), undefined);
});
