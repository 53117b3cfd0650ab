import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  type BetaSchedule,
  betasForAlphaBar,
  getBetaSchedule,
  getNamedBetaSchedule,
  type NoiseScheduleName,
} from "./mod.ts";

const range = (numDiffusionTimesteps: number) => ({
  betaStart: 1e-4,
  betaEnd: 0.02,
  numDiffusionTimesteps,
});

Deno.test("the linear schedule of 1000 steps is that of Ho et al.", () => {
  const betas = getNamedBetaSchedule("linear", 1000);
  assertEquals([betas.length, betas[0], betas[999]], [1000, 1e-4, 0.02]);
  const signal = betas.reduce((product, b) => product * (1 - b), 1);
  assertAlmostEquals(signal, 4.0e-5, 1e-6); // what the paper says is left of the signal
});

Deno.test("the linear schedule leaves as little signal in fewer steps", () => {
  const left = (steps: number) =>
    getNamedBetaSchedule("linear", steps).reduce((product, b) => product * (1 - b), 1);
  assert(left(100) < 4.1e-5 && left(4000) < 5e-5);
});

Deno.test("the cosine schedule follows the cosine and is capped at its end", () => {
  const betas = getNamedBetaSchedule("squaredcos_cap_v2", 1000);
  assertEquals(betas[999], 0.999);
  const half = betas.subarray(0, 500).reduce((product, b) => product * (1 - b), 1);
  const alphaBar = (t: number) => Math.cos((t + 0.008) / 1.008 * Math.PI / 2) ** 2;
  assertAlmostEquals(half, alphaBar(0.5) / alphaBar(0), 1e-12);
});

Deno.test("raw schedules have the shapes that their names say", () => {
  const of = (name: BetaSchedule, count: number) => [...getBetaSchedule(name, range(count))];
  assertEquals(of("const", 3), [0.02, 0.02, 0.02]);
  assertEquals(of("jsd", 4), [1 / 4, 1 / 3, 1 / 2, 1]);
  assertEquals(of("warmup50", 4), [1e-4, 0.02, 0.02, 0.02]);
  assertEquals(of("warmup10", 9), new Array(9).fill(0.02)); // 10% of 9 steps are none
  assertAlmostEquals(of("quad", 3)[1]!, ((0.01 + Math.sqrt(0.02)) / 2) ** 2, 1e-15);
  assertEquals(of("linear", 1), [1e-4]);
});

Deno.test("schedules that do not exist are refused by name", () => {
  assertThrows(
    () => getNamedBetaSchedule("cosine" as NoiseScheduleName, 10),
    RangeError,
    "got cosine",
  );
  assertThrows(() => getBetaSchedule("cubic" as BetaSchedule, range(10)), RangeError, "got cubic");
  assertThrows(() => getNamedBetaSchedule("linear", 0), RangeError, "1 or more steps");
  assertThrows(() => betasForAlphaBar(1.5, () => 1), RangeError, "1 or more steps but got 1.5");
});
