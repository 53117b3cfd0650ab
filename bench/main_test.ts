import { assertEquals, assertRejects } from "@std/assert";
import { granted } from "../tests/fixtures.ts";
import { UsageError } from "../cli/shared/errors.ts";
import { mayWrite, parse } from "./main.ts";

const ignore = !granted({ name: "read" });

Deno.test({
  name: "a benchmark that there is not, and flags that it does not have, are refused",
  ignore,
  fn: async () => {
    await assertRejects(() => parse(["optoins"]), UsageError, 'no suite "optoins"; did you mean');
    await assertRejects(() => parse([]), UsageError, "Suites: ");
    await assertRejects(() => parse(["options", "--modle", "X"]), UsageError, "mean --model?");
    await assertRejects(() => parse(["scaling", "--model", "X"]), UsageError, "unknown flag");
  },
});

Deno.test({
  name: "--only takes parts that the suite has, and is refused where it has none",
  ignore,
  fn: async () => {
    const parts = {
      distributed: "all-reduce,training",
      gpu: "conformance,",
      models: "training,inference",
      options: "none,checkpointing,",
      recipes: "plain,flow,",
    };
    for (const [suite, some] of Object.entries(parts)) {
      const message = `--only: expected some of ${some}`;
      await assertRejects(() => parse([suite, "--only", "speed"]), UsageError, message);
    }
    await assertRejects(
      () => parse(["gpu", "--only", "stepps"]),
      UsageError,
      "did you mean steps?",
    );
    await assertRejects(() => parse(["models", "--only="]), UsageError, "but got nothing");
    for (const suite of ["engine", "census", "scaling", "full-size"]) {
      const message = `--only: ${suite} has no parts`;
      await assertRejects(() => parse([suite, "--only", "speed"]), UsageError, message);
    }
    assertEquals((await parse(["gpu", "--only", "steps,cpu"])).only, ["steps", "cpu"]);
    const rows = ["RoPE", "early head, internal guidance", "cosine schedule"];
    assertEquals((await parse(["recipes", "--only", rows.join()])).only, rows);
  },
});

Deno.test({
  name: "every suite that is listed can be run",
  ignore,
  fn: async () => {
    const error = await assertRejects(() => parse([]), UsageError);
    const names = error.message.split("Suites: ")[1]!.split(", ");
    const { suites } = await parse(names);
    assertEquals(suites.filter(({ suite }) => typeof suite.run !== "function"), []);
  },
});

Deno.test({
  name: "flags of a suite are read beside those of all",
  ignore,
  fn: async () => {
    const { suites, flags } = await parse(["options", "--model", "DiT-B/2", "--steps=3", "--json"]);
    assertEquals(suites.map(({ name }) => name), ["options"]);
    assertEquals(flags, { model: "DiT-B/2", steps: 3, json: true } as typeof flags);
  },
});

Deno.test({
  name: "a folder that the task may not write to is left to a process that may",
  ignore,
  permissions: { read: true, write: [".tmp"] },
  fn: () => {
    assertEquals(mayWrite(null), true);
    assertEquals(mayWrite(new URL("../.tmp/results/", import.meta.url)), true);
    assertEquals(mayWrite(new URL("../elsewhere/", import.meta.url)), false);
  },
});
