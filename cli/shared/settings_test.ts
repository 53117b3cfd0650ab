import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { EXTRACT_FLAGS, EXTRACT_GROUPS } from "../commands/extract/flags.ts";
import { TRAIN_FLAGS, TRAIN_GROUPS } from "../commands/train/flags.ts";
import { VAE_FLAGS, VAE_GROUPS } from "../commands/train_vae/flags.ts";
import { CommandError, UsageError } from "./errors.ts";
import { count, counts, flagsHelp, parseFlags, real, toggle, valueText } from "./flags.ts";
import {
  readSettings,
  resumeSettings,
  sameSettings,
  setting,
  settingRows,
  settingsFrom,
  warmupOf,
} from "./settings.ts";

const TABLE = {
  "lr": setting(real("how fast"), { key: "rate", small: 0.5, original: 0.25 }),
  "widths": setting(counts("how wide"), { key: "widths", default: [1, 2] }),
  "side": setting(count("how large"), { key: "side", default: 8, awaitsData: true }),
  "steps": setting(count("how long"), { key: "steps", default: 9, onResume: "changeable" }),
  "keep": setting(count("how many"), { key: "keep", default: 3, onResume: "free" }),
  "strict": setting(toggle("whether"), { key: "strict", default: true, whenAbsent: false }),
  "help": toggle("show this"),
};

Deno.test("settings are what was given and the defaults of a preset", () => {
  const flags = parseFlags(["--keep", "2"], TABLE);
  assertEquals(settingsFrom(TABLE, flags), {
    rate: 0.5,
    widths: [1, 2],
    side: null,
    steps: 9,
    keep: 2,
    strict: true,
  });
  assertEquals(settingsFrom(TABLE, { side: 4 }, "original").rate, 0.25);
});

Deno.test("a run is resumed by its own values, and others of what decides its numbers are refused", () => {
  const before = settingsFrom(TABLE, { side: 4 });
  const same = { lr: 0.5, widths: [1, 2], side: 4, strict: true, help: false };
  assertEquals(resumeSettings(TABLE, before, same), before);
  assertEquals(
    resumeSettings(TABLE, before, { keep: 1, steps: 10 }),
    { ...before, keep: 1, steps: 10 },
  );
  const refused = [
    [{ lr: 1 }, "--lr: the run has 0.5 but got 1; --resume continues a run as it was"],
    [{ widths: [1] }, "--widths: the run has 1,2 but got 1;"],
    [{ strict: false }, "--strict: the run has on but got off;"],
  ] as const;
  for (const [flags, message] of refused) {
    assertThrows(
      () => resumeSettings(TABLE, before, flags as Parameters<typeof resumeSettings>[2]),
      UsageError,
      message,
    );
  }
});

Deno.test("settings are of the same run unless they differ in what tells runs apart", () => {
  const one = settingsFrom(TABLE, {});
  assertEquals(sameSettings(TABLE, one, { ...one, keep: 99 }), true);
  for (const other of [{ rate: 1 }, { steps: 1 }, { side: 1 }, { widths: [2, 1] }]) {
    assertEquals(sameSettings(TABLE, one, { ...one, ...other }), false);
  }
  assertEquals(sameSettings(TABLE, one, { ...one, side: 1 }, (key) => key === "side"), true);
});

Deno.test("stored settings are read with what they lack, and refused where they are damaged", () => {
  const stored = settingsFrom(TABLE, {});
  assertEquals(readSettings(TABLE, stored, "file"), stored);
  const { strict: _, ...older } = stored;
  assertEquals(readSettings(TABLE, older, "file"), { ...stored, strict: false });
  for (const wrong of [{ rate: "fast" }, { rate: null }, { widths: 0 }, { strict: 1 }]) {
    assertThrows(
      () => readSettings(TABLE, { ...stored, ...wrong }, "file"),
      CommandError,
      `file: expected settings with ${Object.keys(wrong)[0]} but got`,
    );
  }
  assertThrows(() => readSettings(TABLE, { rate: 1 }, "file"), CommandError, "with widths but got");
  assertThrows(() => readSettings(TABLE, "nonsense", "file"), CommandError, "file: expected");
});

Deno.test("a warm-up fits into its run", () => {
  assertEquals([warmupOf(undefined, 50, 1000), warmupOf(undefined, 50, 30)], [50, 3]);
  assertEquals(warmupOf(30, 50, 30), 30);
  assertThrows(() => warmupOf(31, 50, 30), UsageError, "--warmup: expected 30 at most");
});

const COMMANDS = {
  "train": [TRAIN_FLAGS, TRAIN_GROUPS],
  "train-vae": [VAE_FLAGS, VAE_GROUPS],
  "extract-features": [EXTRACT_FLAGS, EXTRACT_GROUPS],
} as const;

for (const [command, [table, groups]] of Object.entries(COMMANDS)) {
  Deno.test(`${command}: every default passes its own parser and stands in the help`, () => {
    const help = flagsHelp(groups).split(/\n(?= +--)/);
    for (const [name, row] of Object.entries(table)) {
      const line = help.find((text) => text.trimStart().split(/[ \n]/)[0] === `--${name}`)!;
      const { defaults, defaultText } = row as { defaults?: object; defaultText?: string };
      if (defaultText !== undefined) assertStringIncludes(line, `(default ${defaultText})`);
      for (const value of Object.values(defaults ?? {})) {
        if (value === null || value === undefined || value === "") continue;
        assertEquals(row.parse(String(value), name), value, `--${name}`);
        const isPlain = typeof value !== "boolean" && !/most|none/.test(defaultText!);
        if (isPlain) assertStringIncludes(line, valueText(value), `--${name}`);
      }
    }
  });

  Deno.test(`${command}: no two flags are stored under one name`, () => {
    const keys = settingRows(table).map(([, { key }]) => key);
    assertEquals(keys.length, new Set(keys).size);
  });
}
