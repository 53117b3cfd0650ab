import { assert, assertEquals } from "@std/assert";
import { boundCores, type Cores, threadsFor } from "./cores.ts";

function threads(...all: Cores[]): number[] {
  return all.map((_, rank) => threadsFor(rank, all));
}

Deno.test("ranks that are bound use the cores they are bound to, and share those in common", () => {
  const on = (machine: number, ...bound: number[]): Cores => ({
    machine,
    bound,
    usable: bound.length,
  });
  assertEquals(threads(on(0, 0), on(0, 1)), [1, 1]);
  assertEquals(threads(on(0, 0, 1, 2, 3), on(0, 0, 1, 2, 3)), [2, 2]);
  assertEquals(threads(on(0, 0, 1, 2, 3), on(0, 4, 5, 6, 7), on(2, 0, 1, 2, 3)), [4, 4, 4]);
  assertEquals(threads(on(0, 0, 1, 2), on(0, 0, 1, 2), on(0, 0, 1, 2)), [1, 1, 1]);
  assertEquals(threads(on(0, 0, 1), on(0, 0, 1), on(0, 0, 1), on(0, 0, 1)), [1, 1, 1, 1]);
  // a group may use half of what it may run on
  const limited: Cores = { machine: 0, bound: [0, 1, 2, 3, 4, 5, 6, 7], usable: 4 };
  assertEquals(threads(limited, limited), [2, 2]);
});

Deno.test("ranks of a system that does not bind them share its cores", () => {
  const free: Cores = { machine: 0, bound: null, usable: 8 };
  assertEquals(threads(free, free, free), [2, 2, 2]);
});

Deno.test("boundCores() gives processors that this process may use", () => {
  const cores = boundCores();
  if (Deno.build.os === "linux") assert(cores !== null && cores.length > 0);
  else assertEquals(cores, null);
});
