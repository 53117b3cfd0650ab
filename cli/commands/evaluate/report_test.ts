import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { METRICS } from "./flags.ts";
import { fewSamplesWarning, figureLines, madeByOf, missingClassesWarning } from "./report.ts";

Deno.test("few samples are warned of where figures depend on their number, and only there", () => {
  assertStringIncludes(
    fewSamplesWarning(9999, METRICS)!,
    "9,999 samples are too few for FID and sFID",
  );
  assertStringIncludes(fewSamplesWarning(5, ["fid", "kid"])!, "too few for FID:");
  assertEquals(fewSamplesWarning(10_000, METRICS), null);
  assertEquals(fewSamplesWarning(5, ["kid", "inception-score"]), null);
});

Deno.test("classes without samples are named, the first of many", () => {
  const reference = Int32Array.from({ length: 40 }, (_, i) => i % 20);
  const some = missingClassesWarning(
    Int32Array.of(0, 1),
    reference,
    ["cat", "dog", "fox"],
    "it has",
  )!;
  assertStringIncludes(some, "no samples of 18 of 20 classes that it has: 2 (fox), 3, 4,");
  assert(some.includes(", ...;"), some);
  assertEquals(missingClassesWarning(reference, reference, null, "it has"), null);
  // classes of samples beyond the reference's are not missing
  assertEquals(missingClassesWarning(reference, Int32Array.of(3), null, "it has"), null);
});

Deno.test("figures that were asked for have a line, unknown ones a dash", () => {
  const figures = {
    fid: 2.2719734,
    sfid: null,
    inceptionScore: 278.24,
    precision: 0.83,
    recall: null,
    kid: 0.00123456,
  };
  assertEquals(figureLines(figures, ["fid", "recall", "kid"], 0.0002), [
    "FID              2.27197",
    "recall           -",
    "KID              0.00123456 ± 0.00020 a subset",
  ]);
});

Deno.test("what made samples is an object where it is JSON, otherwise the text, or nothing", () => {
  assertEquals(madeByOf('{"seed": 3}'), { seed: 3 });
  assertEquals(madeByOf("by hand"), "by hand");
  assertEquals(madeByOf(undefined), null);
});
