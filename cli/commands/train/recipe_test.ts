import { assert, assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../shared/errors.ts";
import { NAMED_DATA, type Recipe, USUAL_RECIPE } from "../../shared/named_data.ts";
import { TRAIN_FLAGS } from "./flags.ts";
import { addedByRecipe, recipeFlags, recipeLines, recipesHelp, withRecipe } from "./recipe.ts";
import { settingsOf } from "./settings.ts";

const RECIPE: Recipe = {
  "model": "DiT-XS/8",
  "depth": 3,
  "rope": true,
  "bottleneck": 16,
  "process": "flow",
  "timestep-sampler": "logit-normal",
  "time-mean": -0.8,
  "model-guidance": 1,
  "cfg-scale": 1,
  "sample-sampler": "heun",
  "sample-steps": 12,
  "steps": 5000,
  "warmup": 100,
  "flip": false,
};

Deno.test("a recipe holds where nothing else is given, and its values are those of flags", () => {
  assertEquals(addedByRecipe({}, undefined, RECIPE), RECIPE);
  assertEquals(addedByRecipe({ steps: 5000, rope: true }, undefined, RECIPE).steps, undefined);
  assertEquals(addedByRecipe({}, undefined, {}), {});
  assertThrows(() => recipeFlags({ "setps": 3 }), UsageError, "did you mean --steps?");
  assertThrows(() => recipeFlags({ "steps": "many" }), UsageError, "--steps: expected");
});

Deno.test("what is given takes from a recipe what would contradict it", () => {
  const without = (given: Parameters<typeof addedByRecipe>[0], ...names: string[]) => {
    const left = Object.entries(RECIPE).filter(([name]) => !names.includes(name));
    assertEquals(
      addedByRecipe(given, undefined, RECIPE),
      Object.fromEntries(left),
      JSON.stringify(given),
    );
  };
  without({ depth: 4 }, "depth");
  without({ model: "DiT-XS/4" }, ...Object.keys(RECIPE)); // another model's
  without({ "patch-size": 4 }, ...Object.keys(RECIPE));
  without({ model: "DiT-XS/8" }, "model");
  const process = ["process", "timestep-sampler", "time-mean", "model-guidance"];
  const sampling = ["sample-sampler", "sample-steps"];
  without({ process: "gaussian" }, ...process, ...sampling);
  without({ "timestep-sampler": "uniform" }, "timestep-sampler", "time-mean");
  without({ "model-guidance": 0 }, "model-guidance", "cfg-scale");
  without({ epochs: 2 }, "steps", "warmup");
  without({ init: "weights.pt" }, "model", "depth", "rope", "bottleneck", ...process, ...sampling);
  const ofXs = addedByRecipe({ init: "weights.pt" }, "DiT-XS/8", RECIPE);
  assertEquals(ofXs, addedByRecipe({ init: "weights.pt" }, undefined, RECIPE));
  assertEquals(addedByRecipe({ init: "weights.pt" }, "DiT-S/2", RECIPE), {}); // another model's
  const asked = { init: "weights.pt", model: "DiT-XS/8" };
  assertEquals(addedByRecipe(asked, "DiT-S/2", RECIPE), ofXs);
  assertEquals(addedByRecipe({ steps: 30 }, undefined, RECIPE).warmup, 3);
  assertEquals(addedByRecipe({ steps: 30, warmup: 20 }, undefined, RECIPE).warmup, undefined);
});

Deno.test("the recipes of data are settings of a run, and the help shows them", () => {
  const help = recipesHelp();
  const recipes = Object.entries(NAMED_DATA).map(([data, { recipe }]) => [data, recipe] as const);
  for (const [data, recipe = USUAL_RECIPE] of [...recipes, ["folder", undefined] as const]) {
    for (const name of Object.keys(recipe)) {
      const row: object = TRAIN_FLAGS[name as keyof typeof TRAIN_FLAGS];
      assertEquals("key" in row || "valueIn" in row, true, `${data}: --${name}`);
      assert(name !== "data" && help.includes(`--${name}`), `${data}: --${name}`);
    }
    settingsOf(withRecipe({ data })); // no contradiction
    const lines = recipeLines({ data });
    assert(lines.length > 0);
    assertEquals(lines.every((line) => line.length <= 98), true);
  }
  assertEquals(recipeLines({ data: "folder", model: "DiT-S/2" }), []); // as the paper has it
});
