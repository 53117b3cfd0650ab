import { assertEquals } from "@std/assert";
import { duration, rateText } from "./progress.ts";

Deno.test("durations are written in the unit that fits them", () => {
  assertEquals(duration(0.42), "0.4 s");
  assertEquals(duration(9.96), "10 s");
  assertEquals(duration(59.4), "59 s");
  assertEquals(duration(59.6), "1:00 min");
  assertEquals(duration(187), "3:07 min");
  assertEquals(duration(7511), "2:05 h");
});

Deno.test("rates have three digits, and no exponent where they are high", () => {
  assertEquals(rateText(0.0412, "steps"), "0.0412 steps/s");
  assertEquals(rateText(24.26, "steps"), "24.3 steps/s");
  assertEquals(rateText(999.4, "images"), "999 images/s");
  assertEquals(rateText(999.6, "images"), "1000 images/s");
  assertEquals(rateText(1224, "images"), "1220 images/s");
});
