import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { createDiffusion, spaceTimesteps } from "./mod.ts";

Deno.test("spaceTimesteps() rounds halves to even", () => {
  assertEquals(spaceTimesteps(10, "3"), [0, 4, 9]); // 4.5
  assertEquals(spaceTimesteps(4, "3"), [0, 2, 3]); // 1.5
});

Deno.test("spaceTimesteps() takes numbers of each section", () => {
  assertEquals(spaceTimesteps(8, [4, 3]), [0, 1, 2, 3, 4, 6, 7]);
  assertEquals(spaceTimesteps(30, "2, 0, 1"), [0, 9, 20]);
});

Deno.test("spaceTimesteps() refuses what cannot be had, and says why", () => {
  const refused = (respacing: string | number[], message: string) =>
    assertThrows(() => spaceTimesteps(1000, respacing), RangeError, message);
  refused("ddim600", "integer stride");
  refused("1001", "at most 1000 steps of section 0 but got 1001");
  refused("600,1", "at most 500 steps");
  refused("ten", '"N", "a,b,c" or "ddimN" but got "ten"');
  refused("", "but got");
  refused("ddim", "but got");
  refused("0", "1 or more steps");
  refused([-1], "but got -1");
  refused([], "1 or more steps");
});

Deno.test("a respaced process has the same noise levels at the steps it keeps", () => {
  const whole = createDiffusion();
  const part = whole.respaced("ddim50");
  assertEquals(part.numTimesteps, 50);
  for (const [i, t] of part.timestepMap.entries()) {
    assertAlmostEquals(part.alphasCumprod[i]!, whole.alphasCumprod[t]!, 1e-14);
  }
});

Deno.test("a process respaced twice still knows the timesteps of the first", () => {
  const twice = createDiffusion({ timestepRespacing: "100" }).respaced("4");
  assertEquals([...twice.timestepMap], [0, 333, 666, 999]);
});
