import { assertEquals, assertStringIncludes } from "@std/assert";
import { reportHtml } from "./report.ts";
import type { Metrics } from "./metrics.ts";

const metrics: Metrics[] = [1, 2, 3].map((step) => ({
  step,
  loss: 1 / step,
  gradNorm: step,
  lr: 1e-3,
  stepsPerSecond: 2,
  imagesPerSecond: 128,
  waiting: 0,
  peakBytes: 1e6,
  seconds: step / 2,
}));

const report = {
  title: "000-<b>",
  about: ["a & b"],
  steps: 9,
  metrics,
  samples: Array.from({ length: 30 }, (_, step) => ({ step, png: Uint8Array.of(step) })),
  columns: ["0", "1"],
};

Deno.test("the report loads itself again until the run has ended", () => {
  const during = reportHtml({ ...report, ended: null });
  assertStringIncludes(during, 'http-equiv="refresh"');
  assertStringIncludes(during, "step 3 of 9, about 3.0 s left");
  const after = reportHtml({ ...report, ended: "finished" });
  assertEquals(after.includes("refresh"), false);
});

Deno.test("the report escapes names, draws a curve a figure and shows first and last samples", () => {
  const html = reportHtml({ ...report, ended: null });
  assertStringIncludes(html, "000-&lt;b&gt;");
  assertStringIncludes(html, "a &amp; b");
  assertEquals(html.match(/<svg/g)!.length, 4);
  assertEquals(html.match(/<img/g)!.length, 12);
  for (const step of [0, 29]) {
    assertStringIncludes(html, `base64,${Uint8Array.of(step).toBase64()}"`);
  }
  assertEquals(html.includes("NaN"), false);
});

Deno.test("a report without metrics yet is a page too", () => {
  const html = reportHtml({ ...report, metrics: [], samples: [], ended: null });
  assertStringIncludes(html, "step 0 of 9");
  assertEquals(html.includes("NaN") || html.includes("undefined"), false);
});
