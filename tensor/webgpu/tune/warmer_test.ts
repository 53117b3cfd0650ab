import { assert, assertEquals } from "@std/assert";
import { Warmer } from "./warmer.ts";

/** A GPU whose clock is at `megahertz`; work takes seconds, and raises it after one. */
function slowToRise(top: number) {
  const state = { megahertz: 345, top, seconds: 0, busy: 0 };
  const probe = {
    margin: 1.1,
    seconds: () => state.seconds,
    time(launches: number): Promise<number> {
      const milliseconds = 1980 / state.megahertz;
      state.seconds += launches * milliseconds / 1000 + 0.01;
      state.busy += launches * milliseconds / 1000;
      if (state.busy > 1) state.megahertz = state.top;
      return Promise.resolve(milliseconds);
    },
  };
  const rest = () => Object.assign(state, { megahertz: 345, busy: 0 });
  return { state, probe, rest };
}

Deno.test("a GPU is kept busy until its clock is up, and that it has fallen is seen", async () => {
  const { state, probe, rest } = slowToRise(1980);
  const warmer = new Warmer(probe);
  await warmer.warm();
  assertEquals(state.megahertz, 1980);
  const before = state.seconds;
  await warmer.warm();
  assert(state.seconds - before < 0.1, "expected a GPU that is warm to take one measurement");
  rest();
  assertEquals(await warmer.isWarm(), false);
  await warmer.warm();
  assertEquals(state.megahertz, 1980);
  assertEquals(await warmer.isWarm(), true);
});

Deno.test("a GPU that does not get as fast again as it was is taken as it is", async () => {
  const { state, probe, rest } = slowToRise(1980);
  const warmer = new Warmer(probe);
  await warmer.warm();
  rest();
  state.top = 1200;
  const before = state.seconds;
  await warmer.warm();
  assert(state.seconds - before < 3.5);
  assertEquals(await warmer.isWarm(), true);
});
