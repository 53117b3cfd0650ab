import { assertEquals } from "@std/assert";
import { bytesText, countText, isAbort, plural, secondsText, shortNumber } from "./text.ts";

Deno.test("numbers are written as people read them", () => {
  assertEquals([0.123, 12.34, 65, 3725].map(secondsText), [
    ...["0.12 s", "12.3 s", "1 min 5 s", "1 h 2 min"],
  ]);
  assertEquals([10, 2_567_200, 2.7e9].map(bytesText), ["1 kB", "2.6 MB", "2.70 GB"]);
  assertEquals([999, 1_283_600, 3e9].map(countText), ["999", "1.3 million", "3.0 billion"]);
  assertEquals([plural(1, "picture"), plural(1200, "picture")], ["1 picture", "1,200 pictures"]);
  assertEquals([0, 0.0005, 1.2e-7, 12.345, 3e7].map(shortNumber), [
    ...["0", "0.0005", "1.2e-7", "12.3", "3.0e+7"],
  ]);
});

Deno.test("the end of what was cancelled is told from other errors", () => {
  assertEquals(isAbort(new DOMException("x", "AbortError")), true);
  assertEquals(isAbort(AbortSignal.abort().reason), true);
  assertEquals([new Error("x"), "AbortError", null].map(isAbort), [false, false, false]);
});
