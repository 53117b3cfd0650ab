/**
 * What the recipes of docs/recipes.md do to pictures, at equal minutes: each row trains for as long as
 * so many steps of the first row take, with as many seeds as asked for, and its samples are evaluated
 * in the features of a classifier of the data.
 *
 *     deno task bench recipes --json                     digits, three seeds: hours
 *     deno task bench recipes --json --data emoji
 *     deno task bench recipes --only "RoPE,flow of x_0"  some rows
 *     deno task bench recipes --tiny                     in miniature, to see that it works
 *
 * Steps and samples of all rows are timed in turns first, in one process, so that what else the machine
 * does disturbs all of them; the minutes are those of a machine on which the first row takes what it took
 * there. Times and runs that are there already are not made again: it can be interrupted.
 */
import { fromFileUrl, join } from "@std/path";
import { CommandError } from "../cli/shared/errors.ts";
import { choice, count, type FlagValues, withDefault } from "../cli/shared/flags.ts";
import { markdown, type Report } from "./measure.ts";
import type { SuiteOptions } from "./main.ts";
import { runJob, task } from "./recipes/process.ts";
import { type RecipeRow, rowsOf, sampleArguments, trainArguments } from "./recipes/rows.ts";
import { type Evaluated, type Finished, recipeTable } from "./recipes/table.ts";

/** Each run's process starts in the fast tier, as the commands do. */
export const tiered = false;

const USUAL = { data: "mnist", steps: 400, seeds: 3, samples: 1000 } as const;

/** What can be asked for. */
export const flags = {
  "data": withDefault(choice(["mnist", "emoji"], "what is trained on"), USUAL.data),
  "steps": withDefault(count("steps of the first row, whose minutes all rows have"), USUAL.steps),
  "seeds": withDefault(count("runs of each row"), USUAL.seeds),
  "samples": withDefault(count("samples that are evaluated", 20, 1e5), USUAL.samples),
};

/** The rows, whose names are those of any data. */
export const parts = rowsOf(USUAL.data).map(({ name }) => name);

/** Where runs go. */
const FOLDER = new URL("results/recipes/", import.meta.url);

/** In miniature. */
const TINY = { steps: 2, seeds: 1, samples: 20 } as const;

/**
 * Runs the suite.
 *
 * @param folder Where the runs are, which later ones of the same name take as they are.
 */
export async function run(
  report: Report,
  { tiny, only, given = {} }: SuiteOptions,
  folder = FOLDER,
): Promise<void> {
  const asked = given as Partial<FlagValues<typeof flags>>;
  const { data = USUAL.data } = asked;
  const { steps = USUAL.steps, seeds = USUAL.seeds, samples = USUAL.samples } = tiny ? TINY : asked;
  const rows = chosenRows(rowsOf(data), only);
  report.machine = tiny ? "tiny" : data;
  report.note("when", new Date().toISOString());
  report.note("cores", navigator.hardwareConcurrency);
  report.note("asked", { data, steps, seeds, samples });
  const dataFolder = join(fromFileUrl(folder), data);
  const { timed } = await once(join(dataFolder, "timed"), timedBy(rows, data, tiny), async () => {
    return { timed: await runJob({ data, rows, tiny }) };
  });
  report.note("timed", timed);
  const [first] = timed;
  const finished: Finished[] = [];
  for (let seed = 0; seed < seeds; seed++) {
    for (const row of rows) {
      // rows that differ in their samples only have one training, that of the first of them
      const trained = trainedOf(row, rows);
      const { secondsAStep } = timed[rows.indexOf(trained)]!;
      const length = Math.max(1, Math.round(steps * first!.secondsAStep / secondsAStep));
      const folderOf = (row: RecipeRow) => join(dataFolder, `${slug(row)}-${seed}`);
      const evaluated = await evaluateRow(row, {
        data,
        seed,
        steps: length,
        samples,
        trainFolder: folderOf(trained),
        sampleFolder: join(folderOf(row), "samples"),
        tiny,
      });
      finished.push({ row: row.name, seed, steps: length, ...evaluated });
      const { frechetDistance } = evaluated;
      console.log(`${row.name}, seed ${seed}: ${length} steps, ${frechetDistance.toPrecision(4)}`);
      report.note("runs", finished);
    }
  }
  const table = recipeTable(rows, timed, finished);
  report.add(`recipes, ${data}`, table);
  console.log(`\n${markdown(table)}`);
}

function chosenRows(rows: readonly RecipeRow[], only: readonly string[] | undefined): RecipeRow[] {
  return rows.filter(({ name }, i) => i === 0 || (only?.includes(name) ?? true));
}

/** What times depend on. */
function timedBy(rows: readonly RecipeRow[], data: string, tiny: boolean): string[] {
  return rows.map((row) => [...trainArguments(row, data, tiny), ...sampleArguments(row)].join(" "));
}

/** The first row that is trained alike. */
function trainedOf(row: RecipeRow, rows: readonly RecipeRow[]): RecipeRow {
  const trained = JSON.stringify(row.train);
  return rows.find(({ train }) => JSON.stringify(train) === trained)!;
}

/** What a run of a row is. */
interface RunOfRow {
  readonly data: string;
  readonly seed: number;
  readonly steps: number;
  readonly samples: number;
  readonly trainFolder: string;
  readonly sampleFolder: string;
  readonly tiny: boolean;
}

/** Trains, samples and evaluates, unless that was done before. */
async function evaluateRow(
  row: RecipeRow,
  { data, seed, steps, samples, trainFolder, sampleFolder, tiny }: RunOfRow,
): Promise<Evaluated> {
  const training = [
    ...trainArguments(row, data, tiny),
    ...["--steps", String(steps), "--seed", String(seed)],
    ...["--sample-every", "0", "--final-samples", "0", "--ckpt-every", "1000000"],
  ];
  await once(trainFolder, training, async () => {
    await task("train", ...training, "--results-dir", trainFolder);
  });
  const sampling = [
    ...["--num-fid-samples", String(samples), "--balanced-labels", "--no-png"],
    ...["--per-proc-batch-size", "100"],
    ...sampleArguments(row),
  ];
  return await once(sampleFolder, [...training, ...sampling], async () => {
    await task("sample-many", "--ckpt", trainFolder, "--sample-dir", sampleFolder, ...sampling);
    return await evaluate(row, data, sampleFolder, join(trainFolder, "..", "classifier"));
  });
}

/** What was made in a folder by these arguments before, or is made there now. */
async function once<T>(
  folder: string,
  made: readonly string[],
  make: () => Promise<T>,
): Promise<T> {
  const file = join(folder, "made.json");
  const before = await Deno.readTextFile(file).then(JSON.parse).catch(() => null);
  if (JSON.stringify(before?.made) === JSON.stringify(made)) return before.result;
  await Deno.remove(folder, { recursive: true }).catch(() => {});
  const result = await make();
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(file, JSON.stringify({ made, result }));
  return result;
}

/** Compares a folder's samples with the data. */
async function evaluate(
  row: RecipeRow,
  data: string,
  sampleFolder: string,
  cache: string,
): Promise<Evaluated> {
  const archives = Array.from(Deno.readDirSync(sampleFolder), ({ name }) => name)
    .filter((name) => name.endsWith(".npz"));
  if (archives.length !== 1) throw new CommandError(`recipes: no samples of ${row.name}`);
  const text = await task(
    "evaluate",
    ...[join(sampleFolder, archives[0]!), data, "--features", "classifier", "--json"],
    ...["--cache", cache],
  );
  const { frechetDistance, accuracy, nearest }: Evaluated & { nearest: { ratio: number } } = JSON
    .parse(text);
  return { frechetDistance, accuracy, nearestRatio: nearest.ratio };
}

function slug({ name }: RecipeRow): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
}
