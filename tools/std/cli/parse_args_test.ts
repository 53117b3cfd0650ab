import { assertEquals } from "@std/assert";
import { parseArgs } from "@std/cli";

/** Fails to compile unless the two types are the same. */
function typeIs<Expected>(): <Actual extends Expected>(
  value: [Expected] extends [Actual] ? Actual : never,
) => void {
  return () => {};
}

Deno.test("parseArgs() reads long and short flags", () => {
  for (
    const [line, expected] of [
      ["", { _: [] }],
      ["a 1 b", { _: ["a", 1, "b"] }],
      ["--a --b=c --d e f", { _: ["f"], a: true, b: "c", d: "e" }],
      ["--a=", { _: [], a: "" }],
      ["--a -1", { _: [], a: true, 1: true }],
      ["--n 0x10 --m 1e3 --o 1x", { _: [], n: 16, m: 1000, o: "1x" }],
      ["-a -b c", { _: [], a: true, b: "c" }],
      ["-abc d", { _: [], a: true, b: true, c: "d" }],
      ["-n5 -m=x -o=", { _: [], n: 5, m: "x", o: "" }],
      ["-a/b", { _: [], a: "/b" }],
      ["--a.b 1 --a.c 2", { _: [], a: { b: 1, c: 2 } }],
      ["--a -- --b c", { _: ["--b", "c"], a: true }],
      ["--no-a", { _: [], "no-a": true }],
      ["--a 1 --a 2", { _: [], a: 2 }],
      ["-", { _: ["-"] }],
      ["--a true", { _: [], a: "true" }],
    ] as const
  ) {
    const args = line === "" ? [] : line.split(" ");
    const parsed: Record<string, unknown> = parseArgs(args);
    assertEquals(parsed, expected as Record<string, unknown>, line);
  }
});

Deno.test("parseArgs() keeps the values of string flags as text", () => {
  const args = parseArgs(["--seed", "007", "--model", "-x", "--other", "7"], {
    string: ["seed", "model", "absent"],
  });
  typeIs<string | undefined>()(args.seed);
  typeIs<unknown>()(args.other);
  assertEquals(args, { _: [], seed: "007", model: "", x: true, other: 7 });
  assertEquals<Record<string, unknown>>(parseArgs(["1", "--a", "2"], { string: ["_", "a"] }), {
    _: ["1"],
    a: "2",
  });
  // An explicit text stays with its flag, wherever the flag stands.
  assertEquals(parseArgs(["-s5", "--s=6"], { string: "s" }), { _: [], s: "6" });
});

Deno.test("parseArgs() gives boolean flags no value and sets absent ones to false", () => {
  const args = parseArgs(["--a", "x", "--b=false", "-c", "true", "y"], {
    boolean: ["a", "b", "c", "d"],
  });
  typeIs<boolean>()(args.a);
  assertEquals(args, { _: ["x", "y"], a: true, b: false, c: true, d: false });
});

Deno.test("parseArgs() negates the flags it may negate", () => {
  const args = parseArgs(["--no-a", "--no-b", "--no-c"], {
    boolean: ["a", "b"],
    string: ["c"],
    negatable: ["a", "c"],
    default: { a: true },
  });
  typeIs<boolean>()(args.a);
  typeIs<string | false | undefined>()(args.c);
  assertEquals(args, { _: [], a: false, b: false, "no-b": true, c: false });
});

Deno.test("parseArgs() fills in defaults", () => {
  const args = parseArgs(["--steps", "5"], {
    string: ["model", "steps"],
    boolean: ["ema"],
    default: { model: "DiT-S/2", ema: true, rate: 0.5 },
  });
  typeIs<string>()(args.model);
  typeIs<boolean>()(args.ema);
  assertEquals(args, { _: [], steps: "5", model: "DiT-S/2", ema: true, rate: 0.5 });
});

Deno.test("parseArgs() shows unknown flags", () => {
  const seen: string[] = [];
  const args = parseArgs(["--known", "1", "--odd=2", "-x", "rest"], {
    string: ["known"],
    unknown: (arg, key) => {
      seen.push(`${arg} ${key}`);
      return false;
    },
  });
  assertEquals<Record<string, unknown>>(args, { _: [], known: "1" });
  assertEquals(seen, ["--odd=2 odd", "-x x"]);
});

Deno.test("parseArgs() never reaches a prototype", () => {
  parseArgs(["--__proto__.polluted", "1", "--constructor.prototype.polluted", "1"]);
  assertEquals(({} as Record<string, unknown>)["polluted"], undefined);
});
