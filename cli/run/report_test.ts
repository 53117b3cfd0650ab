import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { diskTest } from "../../tests/fixtures.ts";
import { type Metrics, MetricsFile } from "./metrics.ts";
import { COMMON_CURVES, type Curve, History, type Report, reportHtml } from "./report.ts";

const metrics = (step: number): Metrics => ({
  step,
  loss: 1 / step,
  gradNorm: step,
  lr: 1e-3,
  stepsPerSecond: 2,
  imagesPerSecond: 128,
  waiting: 0,
  peakBytes: 1e6,
  seconds: step / 2,
});

const CURVES: Curve[] = [
  { title: "Loss", unit: "", value: ({ loss }) => loss, logarithmic: true, smooth: true },
  ...COMMON_CURVES,
];

function historyOf(steps: number): History {
  const history = new History(CURVES);
  for (let step = 1; step <= steps; step++) history.add(metrics(step));
  return history;
}

const report: Report = {
  title: "000-<b>",
  summary: ["a & b"],
  steps: 9,
  history: historyOf(3),
  pictures: "Samples",
  drawn: Array.from({ length: 30 }, (_, step) => step),
  pictureOf: (step) => `samples/${step}.png`,
  caption: "One column a class: 0, 1.",
  ended: null,
};

Deno.test("the report loads itself again until the run has ended", () => {
  const during = reportHtml(report);
  assertStringIncludes(during, 'http-equiv="refresh"');
  assertStringIncludes(during, "step 3 of 9, about 3.0 s left");
  const after = reportHtml({ ...report, ended: "finished" });
  assertEquals(after.includes("refresh"), false);
});

Deno.test("the report escapes names, draws a curve a figure and links first and last pictures", () => {
  const html = reportHtml(report);
  assertStringIncludes(html, "000-&lt;b&gt;");
  assertStringIncludes(html, "a &amp; b");
  assertEquals(html.match(/<svg/g)!.length, 4);
  assertEquals(html.match(/<img/g)!.length, 12);
  for (const step of [0, 29]) assertStringIncludes(html, `src="samples/${step}.png"`);
  assertEquals(html.includes("NaN"), false);
});

Deno.test("a report without metrics yet is a page too", () => {
  const html = reportHtml({ ...report, history: historyOf(0), drawn: [] });
  assertStringIncludes(html, "step 0 of 9");
  assertEquals(/NaN|undefined|Infinity/.test(html), false);
});

Deno.test("a report of 300,000 lines is as small as one of 3,000", () => {
  const html = reportHtml({ ...report, history: historyOf(300_000) });
  const short = reportHtml({ ...report, history: historyOf(3_000) });
  assert(html.length < 1.5 * short.length, `${html.length} and ${short.length} characters`);
  assert(html.length < 100_000, `${html.length} characters`);
  assertEquals(/NaN|undefined|Infinity/.test(html), false);
});

diskTest("many lines of metrics are gone on with, one at a time", async (folder) => {
  const lines = Array.from({ length: 20_000 }, (_, i) => JSON.stringify(metrics(i + 1)) + "\n");
  await Deno.writeTextFile(`${folder}/metrics.jsonl`, lines.join(""));
  const history = new History(CURVES);
  const file = await MetricsFile.open(folder, 19_990, (line) => history.add(line));
  await file.add(metrics(19_991));
  const { size } = await Deno.stat(`${folder}/metrics.jsonl`);
  assertEquals(size, lines.slice(0, 19_991).reduce((sum, line) => sum + line.length, 0));
  assertEquals(history.last?.step, 19_990);
});
