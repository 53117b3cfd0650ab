/**
 * Recipes: what holds for named data where a flag is left out, as their row says. A recipe is as if
 * its flags had been given, but for those that what is given makes meaningless.
 */
import { DATA } from "../../shared/defaults.ts";
import { parseFlags, valueText } from "../../shared/flags.ts";
import { NAMED_DATA, namedData, type Recipe, USUAL_RECIPE } from "../../shared/named_data.ts";
import { warmupOf } from "../../shared/settings.ts";
import { TRAIN_FLAGS, TRAIN_GROUPS, type TrainFlags } from "./flags.ts";

type Name = keyof TrainFlags;

/** What makes a model another one than that of a recipe which does not say it. */
const SIZES = ["hidden-size", "depth", "num-heads", "patch-size", "mlp-ratio"] as const;

/** What depends on the process: what is drawn from it, and how. */
const OF_PROCESS = [...Object.keys(TRAIN_GROUPS["Diffusion"]), "sample-sampler", "sample-steps"];

/** What a model is made by. */
const OF_MODEL = Object.entries(TRAIN_FLAGS).filter(([, row]) => "valueIn" in row)
  .map(([name]) => name);

/**
 * Flags of a recipe that mean something with its own value of another flag only: they are left out
 * where that one is given otherwise.
 */
const DEPENDENT: Partial<Record<Name, readonly string[]>> = {
  "init": [...OF_MODEL, ...OF_PROCESS], // which are those of the weights
  "process": OF_PROCESS,
  "timestep-sampler": ["time-mean", "time-scale"],
  "model-guidance": ["cfg-scale"],
  "class-dropout": ["cfg-scale", "model-guidance"],
  "sample-sampler": ["sample-steps"],
  "steps": ["epochs"],
  "epochs": ["steps", "warmup"],
};

/**
 * The flags of a recipe.
 *
 * @throws {UsageError} where it has a value that its flag does not take.
 */
export function recipeFlags(recipe: Recipe): TrainFlags {
  return parseFlags(argumentsOf(recipe), TRAIN_FLAGS);
}

/**
 * What the recipe of the data adds to what was given.
 *
 * @param initial The name of the model that the run begins with, where it begins with one.
 */
export function addedByRecipe(
  given: TrainFlags,
  initial?: string,
  recipe: Recipe = recipeFor(given),
): TrainFlags {
  const flags: Readonly<Record<string, unknown>> = recipeFlags(recipe);
  if (isOfAnother(initial === undefined ? given : { model: initial, ...given }, flags)) return {};
  const dropped = Object.entries(DEPENDENT).flatMap(([name, dependents]) => {
    const value = given[name as Name];
    return value === undefined || value === flags[name] ? [] : dependents;
  });
  const added: TrainFlags = Object.fromEntries(
    Object.entries(flags).filter(([name]) =>
      given[name as Name] === undefined && !dropped.includes(name)
    ),
  );
  const { warmup } = added;
  const { steps } = given;
  // shortened as every default is
  return warmup === undefined || steps === undefined
    ? added
    : { ...added, warmup: warmupOf(undefined, warmup, steps) };
}

/**
 * Whether a model is asked for that a recipe says nothing of: one of another name, or of a size that it
 * leaves to the name. Rates and batches are those of a size.
 */
function isOfAnother(given: TrainFlags, recipe: Readonly<Record<string, unknown>>): boolean {
  const { model } = given;
  return model !== undefined && model !== recipe["model"] ||
    SIZES.some((name) => given[name] !== undefined && recipe[name] === undefined);
}

/** Flags of a new run: those given, and those of the recipe of its data, as `addedByRecipe` says. */
export function withRecipe(given: TrainFlags, initial?: string): TrainFlags {
  return { ...addedByRecipe(given, initial), ...given };
}

function recipeFor({ data = DATA }: TrainFlags): Recipe {
  return namedData(data)?.recipe ?? USUAL_RECIPE;
}

/** A paragraph of the help for each data with a recipe, and for all others. */
export function recipesHelp(): string {
  const named = Object.entries(NAMED_DATA).flatMap(([name, { recipe }]) =>
    recipe ? [[`--data ${name}`, recipe] as const] : []
  );
  return [...named, ["other data", USUAL_RECIPE] as const].map(([data, recipe]) => {
    const lines = wrapped(argumentsOf(recipe)).map((line) => `  ${line}`);
    return `\n\nDefaults with ${data}:\n${lines.join("\n")}`;
  }).join("");
}

/** The lines that say what a recipe added to a run. */
export function recipeLines(given: TrainFlags, initial?: string): string[] {
  const args = argumentsOf(addedByRecipe(given, initial) as Recipe);
  return wrapped(args).map((line, i) => `${(i === 0 ? "recipe" : "").padEnd(9)}${line}`);
}

/** As they would be typed. */
function argumentsOf(recipe: Recipe): string[] {
  return Object.entries(recipe).map(([name, value]) => {
    if (typeof value === "boolean") return value ? `--${name}` : `--no-${name}`;
    return `--${name}=${valueText(value)}`;
  });
}

/** Arguments in lines that fit on a screen. */
function wrapped(args: readonly string[], width = 88): string[] {
  const lines: string[] = [];
  for (const arg of args.map((arg) => arg.replace("=", " "))) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + arg.length <= width) {
      lines[lines.length - 1] = `${last} ${arg}`;
    } else lines.push(arg);
  }
  return lines;
}
