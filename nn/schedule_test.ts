import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { constantSchedule, cosineSchedule, warmupSchedule } from "./schedule.ts";

Deno.test("constantSchedule() is 1 at every step", () => {
  assertEquals([0, 1, 1e6].map(constantSchedule()), [1, 1, 1]);
});

Deno.test("warmupSchedule() rises evenly and then follows what comes after", () => {
  assertEquals([0, 1, 2, 3, 4, 100].map(warmupSchedule(4)), [0.25, 0.5, 0.75, 1, 1, 1]);
  const after = warmupSchedule(2, (step) => 10 + step);
  assertEquals([0, 1, 2, 3].map(after), [0.5, 1, 10, 11]);
  assertEquals(warmupSchedule(0)(0), 1);
});

Deno.test("cosineSchedule() falls by half a cosine and stays at its floor", () => {
  const schedule = cosineSchedule(8, 0.1);
  assertEquals(schedule(0), 1);
  assertAlmostEquals(schedule(4), 0.55, 1e-12);
  assertAlmostEquals(schedule(2), 0.1 + 0.9 * 0.5 * (1 + Math.SQRT1_2), 1e-12);
  assertAlmostEquals(schedule(8), 0.1, 1e-12);
  assertAlmostEquals(schedule(1e9), 0.1, 1e-12);
});

Deno.test("schedules refuse steps that are no number", () => {
  assertThrows(() => warmupSchedule(NaN), RangeError, "expected warm-up steps of 0 or more");
  assertThrows(() => warmupSchedule(-1), RangeError, "expected warm-up steps of 0 or more");
  assertThrows(() => cosineSchedule(0), RangeError, "expected steps of 1 or more but got 0");
});
