import { assertEquals, assertThrows } from "@std/assert";
import { averagesOf, halfLife, sectionOf } from "./mod.ts";

Deno.test("a text means averages, the first of which is the usual one", () => {
  const averages = averagesOf("0.9999, 0.99,power0.1");
  assertEquals(averages.map(({ name }) => name), ["0.9999", "0.99", "power0.1"]);
  assertEquals(averages.map(sectionOf), ["ema", "ema-0.99", "ema-power0.1"]);
  assertEquals(averages.map(({ options }) => options), [
    { decay: 0.9999 },
    { decay: 0.99 },
    { power: 0.1 },
  ]);
  assertEquals(averagesOf(0.999)[0]!.options, { decay: 0.999 });
  for (const wrong of ["", "0.9,", "1.1", "-0.1", "power0.3", "power", "ema", "power0"]) {
    assertThrows(() => averagesOf(wrong), RangeError, "expected decays from 0 to 1");
  }
  assertThrows(() => averagesOf("0.9,0.9"), RangeError, '"0.9" twice');
  assertThrows(() => averagesOf("0.9,.90"), RangeError, '"0.9" twice');
  assertEquals(averagesOf("1e-1,power.10").map(({ name }) => name), ["0.1", "power0.1"]);
});

Deno.test("no average's section begins the names of another's", () => {
  const sections = averagesOf("0.9,0,0.5,0.05,power0.1,power0.15,0.99,0.999").map(sectionOf);
  for (const one of sections) {
    assertEquals(sections.filter((other) => other.startsWith(`${one}.`)), [], one);
  }
});

Deno.test("half of what an average began with is left after its half-life", () => {
  const [slow, power] = averagesOf("0.9999,power0.1");
  const steps = halfLife(slow!, false)!;
  assertEquals(Math.round(steps), 6931);
  assertEquals(Math.abs(0.9999 ** steps - 0.5) < 1e-9, true);
  assertEquals([halfLife(slow!, true), halfLife(power!, false)], [null, null]);
});
