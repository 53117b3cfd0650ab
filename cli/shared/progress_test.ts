import { assertEquals } from "@std/assert";
import { duration } from "./progress.ts";

Deno.test("durations are written in the unit that fits them", () => {
  assertEquals(duration(0.42), "0.4 s");
  assertEquals(duration(9.96), "10 s");
  assertEquals(duration(59.4), "59 s");
  assertEquals(duration(59.6), "1:00 min");
  assertEquals(duration(187), "3:07 min");
  assertEquals(duration(7511), "2:05 h");
});
