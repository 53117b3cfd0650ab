import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { Generator } from "../tensor/mod.ts";
import {
  createTimestepSampler,
  LossSecondMomentSampler,
  type TimestepSamplerName,
  UniformSampler,
} from "./mod.ts";

/** A sampler that has seen a loss of t + 1 twice at each timestep. */
function warm(): LossSecondMomentSampler {
  const sampler = new LossSecondMomentSampler(4, { historyPerTerm: 2 });
  for (let round = 0; round < 2; round++) sampler.update([0, 1, 2, 3], [1, 2, 3, 4]);
  return sampler;
}

Deno.test("a seed decides which timesteps are drawn", () => {
  const sampler = new UniformSampler(1000);
  const draw = () => sampler.sample(8, new Generator(3)).timesteps;
  assertEquals(draw(), draw());
  assert(new Set(draw()).size > 1);
});

Deno.test("uniform draws reach every timestep and weigh nothing", () => {
  const { timesteps, weights } = new UniformSampler(5).sample(500, new Generator(1));
  assertEquals(new Set(timesteps), new Set([0, 1, 2, 3, 4]));
  assertEquals(new Set(weights), new Set([1]));
});

Deno.test("losses are drawn by the root of their second moment once all have been seen", () => {
  const sampler = new LossSecondMomentSampler(4, { historyPerTerm: 2 });
  sampler.update([0, 0, 1, 1, 2, 2, 3], [1, 1, 2, 2, 3, 3, 4]);
  assertEquals([...sampler.weights()], [1, 1, 1, 1]);
  sampler.update([3], [4]);
  sampler.weights().forEach((w, t) => assertAlmostEquals(w, 0.999 * (t + 1) / 10 + 0.00025, 1e-12));
});

Deno.test("weights undo what the choice of timesteps does to the mean loss", () => {
  const { timesteps, weights } = warm().sample(4000, new Generator(2));
  const mean = timesteps.reduce((sum, t, i) => sum + (t + 1) * weights[i]!, 0) / 4000;
  assertAlmostEquals(mean, 2.5, 0.02); // of 1, 2, 3, 4
});

Deno.test("only the latest losses count, and those of overflowed steps do not", () => {
  const sampler = warm();
  sampler.update([0, 0, 0], [5, NaN, 6]);
  assertEquals(sampler.state().history[0], [5, 6]);
});

Deno.test("a sampler continues from its state, through JSON", () => {
  const state = JSON.parse(JSON.stringify(warm().state()));
  const again = new LossSecondMomentSampler(4, { historyPerTerm: 2 });
  again.load(state);
  assertEquals(again.weights(), warm().weights());
  state.history[0].push(9); // the state is a copy
  assertEquals(again.state(), warm().state());
});

Deno.test("states, draws and losses that do not fit are refused", () => {
  const sampler = warm();
  assertThrows(() => sampler.load(new UniformSampler(4).state()), RangeError, "but got uniform");
  const other = new LossSecondMomentSampler(5).state();
  assertThrows(() => sampler.load(other), RangeError, "expected 4 timesteps");
  assertThrows(() => sampler.update([4], [1]), RangeError, "timesteps in [0, 4) but got 4");
  assertThrows(() => sampler.update([1], []), RangeError, "each of 1 timesteps but got 0");
  assertThrows(() => sampler.sample(2, [0.5]), RangeError, "2 uniform numbers");
  assertThrows(() => new UniformSampler(0), RangeError, "1 or more timesteps");
  const make = (name: string) =>
    createTimestepSampler(name as TimestepSamplerName, { numTimesteps: 4 });
  assertThrows(() => make("best"), RangeError, "but got best");
  assertEquals(make("uniform").state().name, "uniform");
  assertEquals(make("loss-second-moment").state().name, "loss-second-moment");
});
