import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { expect } from "@std/expect";
import { EXTRACT_FLAGS } from "../commands/extract/flags.ts";
import { SAMPLE_FLAGS } from "../commands/sample/flags.ts";
import { TRAIN_FLAGS } from "../commands/train/flags.ts";
import { VAE_FLAGS } from "../commands/train_vae/flags.ts";
import { CommandError, UsageError } from "./errors.ts";
import { count, counts, flagsHelp, type FlagTable, parseFlags, real, toggle } from "./flags.ts";
import {
  defaultsText,
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

Deno.test("settings are of the same run unless they differ in what identifies runs", () => {
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
  const others = [{ rate: "0.5" }, { widths: "1,2" }, { keep: [3] }, { strict: "true" }];
  for (const wrong of [{ rate: "fast" }, { rate: null }, { widths: 0 }, { strict: 1 }, ...others]) {
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

const COMMANDS: Readonly<Record<string, FlagTable>> = {
  "train": TRAIN_FLAGS,
  "train-vae": VAE_FLAGS,
  "extract-features": EXTRACT_FLAGS,
  "sample": SAMPLE_FLAGS,
};

for (const [command, table] of Object.entries(COMMANDS)) {
  Deno.test(`${command}: every default passes its own parser and stands in the help`, () => {
    const lines = flagsHelp({ "All": table }).split(/\n(?= +--)/).slice(1);
    for (const [i, [name, row]] of Object.entries(table).entries()) {
      const { defaultText, help } = row;
      const written = defaultText === undefined ? help : `${help} (default ${defaultText})`;
      assertStringIncludes(lines[i]!, `--${name}`);
      assertEquals(lines[i]!.endsWith(written), true, lines[i]);
      // prose about a default would not follow it
      expect(help).not.toMatch(/\bdefault/);
      const { defaults, default: one } = row as { defaults?: object; default?: unknown };
      for (const value of defaults ? Object.values(defaults) : [one]) {
        if (value === null || value === undefined || value === "") continue;
        assertEquals(row.parse(String(value), name), value, `--${name}`);
      }
    }
  });

  Deno.test(`${command}: no two flags are stored under one name`, () => {
    const keys = settingRows(table).map(([, { key }]) => key);
    assertEquals(keys.length, new Set(keys).size);
  });
}

Deno.test("a default is shown as it is, unless more than its value has to be said", () => {
  const text = (name: string) => (TRAIN_FLAGS as FlagTable)[name]!.defaultText;
  assertEquals(text("lr"), "0.001, or 0.0001 for the paper's models");
  assertEquals(text("ema-warmup"), "on, or off for the paper's models");
  assertEquals(text("min-snr"), "none");
  assertEquals(text("keep"), "3");
  assertEquals(text("warmup"), "50, or 0 for the paper's models; at most a tenth of the steps");
  const defaults = Object.entries(COMMANDS).flatMap(([command, table]) =>
    settingRows(table)
      .filter(([, { defaults, defaultText }]) =>
        !`${defaultText};`.startsWith(`${defaultsText(defaults)};`)
      )
      .map(([name]) => `${command} --${name}`)
  );
  // those that the data or other flags decide, or that have to be given
  assertEquals(defaults, [
    "train --vae",
    "train-vae --data",
    "train-vae --norm-groups",
    "extract-features --data",
  ]);
});
