import { assert, assertEquals } from "@std/assert";
import { type Cores, idleCoresText, ownCores, threadsFor } from "./cores.ts";

function threads(...all: Cores[]): number[] {
  return all.map((_, rank) => threadsFor(rank, all));
}

Deno.test("ranks that are bound use the cores they are bound to, and share those in common", () => {
  const on = (machine: number, ...bound: number[]): Cores => ({
    machine,
    bound,
    usable: bound.length,
    online: 8,
  });
  assertEquals(threads(on(0, 0), on(0, 1)), [1, 1]);
  assertEquals(threads(on(0, 0, 1, 2, 3), on(0, 0, 1, 2, 3)), [2, 2]);
  assertEquals(threads(on(0, 0, 1, 2, 3), on(0, 4, 5, 6, 7), on(2, 0, 1, 2, 3)), [4, 4, 4]);
  assertEquals(threads(on(0, 0, 1, 2), on(0, 0, 1, 2), on(0, 0, 1, 2)), [1, 1, 1]);
  assertEquals(threads(on(0, 0, 1), on(0, 0, 1), on(0, 0, 1), on(0, 0, 1)), [1, 1, 1, 1]);
  // a group may use half of what it may run on
  const limited: Cores = { machine: 0, bound: [0, 1, 2, 3, 4, 5, 6, 7], usable: 4, online: 8 };
  assertEquals(threads(limited, limited), [2, 2]);
});

Deno.test("ranks of a system that does not bind them share its cores", () => {
  const free: Cores = { machine: 0, bound: null, usable: 8, online: 8 };
  assertEquals(threads(free, free, free), [2, 2, 2]);
});

Deno.test("ranks that are bound to few cores are told of", () => {
  const on = (...bound: number[]): Cores => ({ machine: 0, bound, usable: 1, online: 8 });
  assertEquals(
    idleCoresText([on(0), on(1)]),
    "mpirun lets the ranks of a machine run on 2 of its 8 cores only; " +
      "mpirun --bind-to none lets them share all",
  );
  assertEquals(idleCoresText([on(0, 1, 2, 3), on(4, 5, 6, 7)]), null);
  assertEquals(idleCoresText([{ ...on(0), bound: null }]), null);
  assertEquals(idleCoresText([{ ...on(0), online: null }]), null);
});

Deno.test("ownCores() gives processors that this process may use", () => {
  const { machine, bound, usable, online } = ownCores(3);
  assert(machine === 3 && usable >= 1);
  if (Deno.build.os !== "linux") return assertEquals([bound, online], [null, null]);
  assert(bound !== null && bound.length > 0 && online !== null && online > 0);
});
