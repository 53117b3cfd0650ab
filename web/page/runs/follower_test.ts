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

Deno.test("a run that is read twice at once has each of its lines once", async () => {
  const parts: Readonly<Record<string, MetricsPart>> = {
    "": { lines: [line(1)], isFromStart: true, next: "a", hasMore: true },
    "a": { lines: [line(2)], isFromStart: false, next: "b", hasMore: true },
    "b": { lines: [line(3)], isFromStart: false, next: "c", hasMore: false },
    "c": { lines: [], isFromStart: false, next: "c", hasMore: false },
  };
  const runs: Runs = {
    list: () => Promise.resolve([]),
    metrics: (_, after = "") => Promise.resolve(parts[after]!),
    picturesUrl: () => "",
  };
  const follower = new Follower(runs, "000-x");
  const { signal } = new AbortController();
  await Promise.all([follower.read(signal), follower.read(signal)]);
  assertEquals(follower.lines.map(({ step }) => step), [1, 2, 3]);
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
