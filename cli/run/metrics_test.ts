import { assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { init } from "@dit/core/tensor";
import { diskTest } from "../../tests/fixtures.ts";
import { CommandError } from "../shared/errors.ts";
import { Meter, type Metrics, MetricsFile, waitingText } from "./metrics.ts";
import { sortOut, type StepRecord } from "./records.ts";

const record = (step: number, loss: number, kl?: number): StepRecord => ({
  step,
  loss,
  gradNorm: 1,
  lr: 1 / step,
  ...(kl === undefined ? {} : { kl }),
});

const line = (step: number, waiting = 0): Metrics => ({
  step,
  loss: 1,
  gradNorm: 1,
  lr: 1,
  stepsPerSecond: 1,
  imagesPerSecond: 1,
  waiting,
  peakBytes: 1,
  seconds: step,
});

Deno.test("a meter gives means since the line before, and speed and waiting of that time", async () => {
  let now = 0;
  const device = await init({ device: "reference" });
  const meter = new Meter(device, 8, 10, line(10), () => now);
  assertEquals(meter.seconds, 10); // a run that is continued has trained before
  meter.add([record(11, 1, 4), record(12, 2, 6)]);
  now += 4000;
  const first = meter.read({ step: 12, waited: 1, damaged: 0, scaler: null })!;
  assertEquals([first.loss, first.kl, first.lr, first.seconds], [1.5, 5, 1 / 12, 14]);
  assertEquals([first.stepsPerSecond, first.imagesPerSecond, first.waiting], [0.5, 4, 0.25]);
  assertEquals("damaged" in first || "scale" in first, false);
  meter.add([record(13, 5)]);
  now += 2000;
  const scaler = { scale: 64, skipped: 3 };
  const second = meter.read({ step: 13, waited: 1.5, damaged: 2, scaler })!;
  assertEquals([second.loss, second.scale, second.skipped, second.damaged], [5, 64, 3, 2]);
  assertEquals("kl" in second, false);
  assertAlmostEquals(second.waiting, 0.25, 1e-12);
  assertEquals(meter.read({ step: 14, waited: 2, damaged: 2, scaler }), undefined);
});

Deno.test("a meter counts the time of the wall, without drawing and saving", async () => {
  let now = 0;
  const device = await init({ device: "reference" });
  const meter = new Meter(device, 8, 0, undefined, () => now);
  now += 1000;
  await meter.without(() => Promise.resolve(now += 60_000));
  now += 3000;
  await assertRejects(() => meter.without(() => Promise.reject(new Error("full"))), Error, "full");
  meter.add([record(1, 1), record(2, 1)]);
  const { seconds, stepsPerSecond } = meter.read({ step: 2, waited: 0, damaged: 0, scaler: null })!;
  assertEquals([seconds, stepsPerSecond], [4, 0.5]);
});

Deno.test("waiting for data is said where it is noticeable", () => {
  assertEquals(waitingText(line(1, 0.049)), "");
  assertEquals(waitingText(line(1, 0.217)), "; 22% of the time waiting for data");
});

diskTest("metrics after the step that a run is resumed at are measured again", async (folder) => {
  const path = `${folder}/metrics.jsonl`;
  const file = await MetricsFile.open(folder, 0);
  for (const step of [2, 4, 6]) await file.add(line(step));
  await Deno.writeTextFile(path, '{"step": 7, "lo', { append: true }); // killed while it wrote
  const before = await Deno.readTextFile(path);
  const kept: number[] = [];
  const again = await MetricsFile.open(folder, 5, ({ step }) => kept.push(step));
  assertEquals([kept, again.last?.step], [[2, 4], 4]);
  assertEquals(await Deno.readTextFile(path), before, "nothing goes before there is something new");
  await again.add(line(6));
  const lines = (await Deno.readTextFile(path)).trim().split("\n").map((text) => JSON.parse(text));
  assertEquals(lines, [2, 4, 6].map((step) => line(step)));
  const none = await MetricsFile.open(`${folder}/none`, 0);
  await assertRejects(() => none.add(line(1)), CommandError, "none");
});

diskTest("a line of metrics never continues one that was cut short", async (folder) => {
  const path = `${folder}/metrics.jsonl`;
  const read = async () =>
    (await Deno.readTextFile(path)).trim().split("\n").map((text) => JSON.parse(text));
  const file = await MetricsFile.open(folder, 0);
  for (const step of [2, 4]) await file.add(line(step));
  await Deno.truncate(path, (await Deno.stat(path)).size - 1); // without its end of line
  const again = await MetricsFile.open(folder, 4);
  assertEquals(again.last?.step, 4);
  await again.add(line(6));
  assertEquals(await read(), [2, 4, 6].map((step) => line(step)));
  // what cannot be written may be there in part
  const whole = await Deno.readTextFile(path);
  await Deno.remove(path);
  await Deno.mkdir(path);
  await assertRejects(() => again.add(line(8)), CommandError, path);
  await Deno.remove(path);
  await Deno.writeTextFile(path, whole + '{"step": 8, "lo');
  await again.add(line(10));
  assertEquals(await read(), [2, 4, 6, 10].map((step) => line(step)));
});

diskTest("lines of metrics that lack what the page shows are none", async (folder) => {
  const lines = ["null", "[]", '{"step": 2}', '{"step": 2, "loss": "1"}', JSON.stringify(line(2))];
  await Deno.writeTextFile(`${folder}/metrics.jsonl`, lines.join("\n") + "\n");
  const found: unknown[] = [];
  await MetricsFile.open(folder, 2, (it) => found.push(it));
  assertEquals(found, [line(2)]);
});

Deno.test("steps without a finite gradient are wrong unless a smaller scale mends them", () => {
  const overflow = { ...record(2, 1), gradNorm: Infinity };
  const records = [record(1, 1), overflow, record(3, NaN)];
  assertEquals(sortOut(records, null).wrong, overflow);
  assertEquals(sortOut(records, 2 ** -9).wrong, overflow);
  assertEquals(sortOut(records, 1024), { finite: [record(1, 1)], wrong: undefined });
});
