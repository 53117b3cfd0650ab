import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { SAMPLE_MANY_FLAGS } from "../cli/commands/sample_many/flags.ts";
import { TRAIN_FLAGS } from "../cli/commands/train/flags.ts";
import { addedByRecipe } from "../cli/commands/train/recipe.ts";
import { modelConfigOf, settingsOf } from "../cli/commands/train/settings.ts";
import { samplingSettings } from "../cli/model/sampling_setup.ts";
import { parseFlags } from "../cli/shared/flags.ts";
import { rowsOf, sampleArguments, SHAPES, trainArguments } from "./recipes/rows.ts";
import { recipeTable } from "./recipes/table.ts";

/** What may come from the recipe of the data, since no picture depends on it. */
const HARMLESS = /^(sample-|ckpt-every|final-samples|steps$|cfg-scale$)/;

for (const [data, { classes, channels, imageSize }] of Object.entries(SHAPES)) {
  Deno.test(`every row of ${data} can be trained and sampled, and has no more than it says`, () => {
    for (const row of rowsOf(data)) {
      const flags = parseFlags(trainArguments(row, data, false), TRAIN_FLAGS);
      const added = Object.keys(addedByRecipe(flags)).filter((name) => !HARMLESS.test(name));
      assertEquals(added, [], row.name);
      const config = modelConfigOf(flags, settingsOf({ ...flags, steps: 100 }), {
        kind: "images",
        channels,
        side: imageSize,
        imageSize,
        classNames: Array.from({ length: classes }, String),
        latents: null,
      });
      const sampling = parseFlags(sampleArguments(row), SAMPLE_MANY_FLAGS);
      const weights = { path: row.name, config };
      const { steps } = samplingSettings(
        sampling,
        weights,
        { sampler: () => "dpm++", cfgScale: 1 },
        0,
      );
      assert(steps >= 10);
    }
    const names = rowsOf(data).map(({ name }) => name);
    assertEquals(new Set(names).size, names.length);
  });
}

Deno.test("the table has means over seeds, their spread, and times over those of the first row", () => {
  const run = (row: string, seed: number, frechetDistance: number) => {
    return { row, seed, steps: 5, frechetDistance, accuracy: 0.5, nearestRatio: 1.2 };
  };
  const timed = [[2, 1], [3, 0.5]].map(([secondsAStep, secondsAPicture]) => {
    return { secondsAStep: secondsAStep!, secondsAPicture: secondsAPicture! };
  });
  const rows = [{ name: "plain" }, { name: "other" }, { name: "not run" }];
  const runs = [run("plain", 0, 10), run("other", 0, 4), run("plain", 1, 14)];
  const [plain, other, ...more] = recipeTable(rows, timed, runs);
  assertEquals(more, []);
  assertEquals(plain!["Fréchet distance"], 12);
  assertAlmostEquals(Number(plain!["spread"]), Math.SQRT2 * 2);
  assertEquals([other!["spread"], other!["time a step"], other!["time a picture"]], [0, 1.5, 0.5]);
  assertEquals(other!["recognised, %"], 50);
});
