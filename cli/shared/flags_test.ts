import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { didYouMean, editDistance, UsageError } from "./errors.ts";
import {
  alias,
  choice,
  count,
  counts,
  flagsHelp,
  parseFlags,
  real,
  splitPositional,
  text,
  toggle,
} from "./flags.ts";

const TABLE = {
  "name": text("NAME", "what it is called"),
  "steps": count("how many"),
  "lr": real("how fast", 0, 1),
  "kind": choice(["one", "other"], "which"),
  "flip": toggle("whether"),
};

Deno.test("parseFlags() gives what was given and nothing else", () => {
  const args = ["--name", "007", "--steps=3", "--lr", "1e-3", "--kind", "other", "--flip"];
  const all = { name: "007", steps: 3, lr: 1e-3, kind: "other", flip: true } as const;
  assertEquals(parseFlags(args, TABLE), all);
  assertEquals(parseFlags(["--no-flip"], TABLE), { flip: false });
  assertEquals(parseFlags([], TABLE), {});
});

Deno.test("parseFlags() says what is wrong", () => {
  const cases = [
    ["--stpes 3", "unknown flag --stpes; did you mean --steps?"],
    ["--entirely-different 3", "unknown flag --entirely-different"],
    ["--steps 0", '--steps: expected a whole number of 1 or more but got "0"'],
    ["--steps", "--steps: expected a whole number of 1 or more but got nothing"],
    ["--lr 2", '--lr: expected a number from 0 to 1 but got "2"'],
    ["--kind oter", '--kind: expected one of one, other but got "oter"; did you mean other?'],
    ["--name", "--name: expected NAME but got nothing"],
    ["more", 'expected flags only but got "more"'],
    ["--flip more", 'expected flags only but got "more"'],
    ["--flip=more", '--flip: expected --flip or --no-flip, without a value, but got "more"'],
    ["--no-flip=1", '--no-flip: expected no value but got "1"'],
    ["--no-steps", "unknown flag --no-steps; --steps has a value and is left out instead"],
    ["--na x", "unknown flag --na; did you mean --name?"],
    ["--__proto__ 1", "unknown flag --__proto__"],
    ["--constructor 1", "unknown flag --constructor"],
  ] as const;
  for (const [line, message] of cases) {
    const error = assertThrows(() => parseFlags(line.split(" "), TABLE), UsageError);
    assertEquals(error.message, message);
  }
});

Deno.test("parseFlags() puts values under the flag that is meant, which has one value", () => {
  const table = {
    ...TABLE,
    "title": alias("name", "NAME", "the same"),
    "s": alias("steps", "N", ""),
  };
  assertEquals(parseFlags(["--title", "a", "--s=2"], table), { name: "a", steps: 2 });
  assertEquals(parseFlags(["--title", "a", "--name", "a"], table), { name: "a" });
  assertThrows(
    () => parseFlags(["--title", "a", "--name", "b"], table),
    UsageError,
    "--title is another name of --name",
  );
  assertThrows(() => parseFlags(["--s", "0"], table), UsageError, "--s: expected a whole number");
});

Deno.test("parseFlags() takes what begins with a dash for a value, where one is due", () => {
  const cases = [
    ["--steps -3", '--steps: expected a whole number of 1 or more but got "-3"'],
    ["--steps=-3", '--steps: expected a whole number of 1 or more but got "-3"'],
    ["--steps -Infinity", '--steps: expected a whole number of 1 or more but got "-Infinity"'],
    ["--lr -4e0", '--lr: expected a number from 0 to 1 but got "-4e0"'],
    ["--steps --lr 1", "--steps: expected a whole number of 1 or more but got nothing"],
    ["-3", "unknown flag -3"],
    ["--flip -3", "unknown flag -3"],
  ] as const;
  for (const [line, message] of cases) {
    const error = assertThrows(() => parseFlags(line.split(" "), TABLE), UsageError);
    assertEquals(error.message, message);
  }
  assertEquals(parseFlags(["--name", "-x", "--steps", "3"], TABLE), { name: "-x", steps: 3 });
  assertEquals(parseFlags(["--name=--x"], TABLE), { name: "--x" });
  assertEquals(parseFlags(["--low", "-0.5"], { low: real("any", -1) }), { low: -0.5 });
});

Deno.test("parseFlags() takes the last of repeated values", () => {
  const args = ["--steps", "1", "--steps=2", "--flip", "--no-flip"];
  assertEquals(parseFlags(args, TABLE), { steps: 2, flip: false });
});

Deno.test("numbers are decimal and finite", () => {
  for (const given of ["NaN", "Infinity", "1e999", "0x10", " ", "", "1,5", "abc", "1_0", "--"]) {
    assertThrows(() => TABLE.steps.parse(given, "steps"), UsageError, "--steps: expected", given);
    assertThrows(() => TABLE.lr.parse(given, "lr"), UsageError, "--lr: expected", given);
    if (given === "1,5") continue;
    assertThrows(() => counts("widths").parse(given, "c"), UsageError, "--c: expected", given);
  }
  assertThrows(() => TABLE.steps.parse("1e300", "steps"), UsageError);
  assertThrows(
    () => count("few", 1, 9).parse("10", "few"),
    UsageError,
    "--few: expected 9 at most but got 10",
  );
  assertEquals(TABLE.steps.parse("1e3", "steps"), 1000);
  assertEquals(TABLE.lr.parse(".5", "lr"), 0.5);
});

Deno.test("flagsHelp() has a line for every flag", () => {
  const help = flagsHelp({ "All of them": TABLE });
  for (const [name, flag] of Object.entries(TABLE)) {
    assertStringIncludes(help, `--${name}`);
    assertStringIncludes(help, flag.help);
  }
});

Deno.test("editDistance() counts letters to change, a swap as one", () => {
  assertEquals(editDistance("kitten", "sitting"), 3);
  assertEquals(editDistance("stpes", "steps"), 1);
  assertEquals(editDistance("", "abc"), 3);
  assertEquals(didYouMean("dit b4", ["DiT-B/4", "DiT-L/4"]), "; did you mean DiT-B/4?");
});

Deno.test("what stands behind -- is refused, not passed over", () => {
  const table = { steps: count("steps") };
  assertThrows(() => parseFlags(["--", "--steps", "3"], table), UsageError, 'but got "--steps"');
  assertEquals(parseFlags(["--steps", "3", "--"], table), { steps: 3 });
});

Deno.test("splitPositional() finds what belongs to no flag, before, between and after flags", () => {
  const table = { steps: count("steps"), flip: toggle("flip") };
  assertEquals(
    splitPositional(["a.npz", "--steps", "3", "b", "--flip", "c", "--steps=4", "--no-flip"], table),
    [["a.npz", "b", "c"], ["--steps", "3", "--flip", "--steps=4", "--no-flip"]],
  );
  assertEquals(splitPositional([], table), [[], []]);
});
