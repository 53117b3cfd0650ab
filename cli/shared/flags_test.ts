import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { didYouMean, editDistance, UsageError } from "./errors.ts";
import {
  choice,
  count,
  flagsHelp,
  parseFlags,
  real,
  text,
  toggle,
  withoutAliases,
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
  ] as const;
  for (const [line, message] of cases) {
    const error = assertThrows(() => parseFlags(line.split(" "), TABLE), UsageError);
    assertEquals(error.message, message);
  }
});

Deno.test("withoutAliases() puts values under the flag that is meant, which has one value", () => {
  const aliases = { "data-path": "data" };
  assertEquals(
    withoutAliases({ "data-path": "a", seed: 1 }, aliases),
    { data: "a", seed: 1 } as never,
  );
  assertThrows(
    () => withoutAliases({ "data-path": "a", data: "b" }, aliases),
    UsageError,
    "--data-path is another name of --data",
  );
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
