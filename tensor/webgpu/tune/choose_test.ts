import { assertEquals } from "@std/assert";
import { choose } from "./choose.ts";
import type { TuneClock } from "./clock.ts";
import type { Launch } from "./turns.ts";

/** A clock that shows what it is told to, by the names that variants launch. */
function clockOf(times: Readonly<Record<string, number>>): TuneClock & { timed: string[] } {
  const timed: string[] = [];
  return {
    timed,
    seconds: () => 0,
    time: (launches: readonly Launch[]) =>
      Promise.resolve(launches.map((launch) => {
        launched = "";
        launch("tune");
        timed.push(launched);
        return times[launched]!;
      })),
  };
}

let launched = "";

const variant = (name: string, isRight = true) => ({
  name,
  plan: name,
  launch: () => void (launched = name),
  isRight: () => Promise.resolve(isRight),
});

/** The plan that is chosen of a usual one and three others. */
async function chosen(times: Readonly<Record<string, number>>, wrong: readonly string[] = []) {
  const clock = clockOf(times);
  const variants = ["usual", "a", "b", "c"].map((name) => variant(name, !wrong.includes(name)));
  const { plan, rows } = await choose("kernel", { shape: "shape", variants }, clock);
  const marked = rows.filter(({ isChosen }) => isChosen).map((row) => row.variant);
  assertEquals(marked, [plan ?? "usual"]);
  assertEquals(rows.filter((row) => row.isUsual).map((row) => row.variant), ["usual"]);
  return { plan, clock, rows };
}

Deno.test("the fastest variant is chosen, wherever it stands", async () => {
  assertEquals((await chosen({ usual: 4, a: 3, b: 2, c: 2.5 })).plan, "b");
  assertEquals((await chosen({ usual: 4, a: 1, b: 2, c: 2.5 })).plan, "a");
  assertEquals((await chosen({ usual: 4, a: 5, b: 6, c: 0.5 })).plan, "c");
});

Deno.test("the usual variant stays where no other is faster by more than a measurement errs", async () => {
  assertEquals((await chosen({ usual: 1, a: 2, b: 3, c: 4 })).plan, null);
  assertEquals((await chosen({ usual: 1, a: 0.98, b: 1, c: 0.975 })).plan, null);
  assertEquals((await chosen({ usual: 1, a: 0.96, b: 1, c: 0.975 })).plan, "a");
});

Deno.test("a variant that computes something else is neither timed nor chosen", async () => {
  const times = { usual: 4, a: 3, b: 1, c: 2 };
  const { plan, clock, rows } = await chosen(times, ["b"]);
  assertEquals(plan, "c");
  assertEquals(clock.timed, ["usual", "a", "c"]);
  assertEquals(rows.map((row) => row.milliseconds), [4, 3, NaN, 2]);
  // Even the usual one, whose place then goes to any other.
  assertEquals((await chosen(times, ["usual"])).plan, "b");
  assertEquals((await chosen(times, ["usual", "a", "b", "c"])).plan, null);
});
