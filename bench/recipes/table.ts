/** The recipes' table. */
import type { Row } from "../measure.ts";
import type { RecipeRow } from "./rows.ts";

/** How long a row takes. */
export interface Timed {
  readonly secondsAStep: number;
  readonly secondsAPicture: number;
}

/** What samples of a run are like. */
export interface Evaluated {
  readonly frechetDistance: number;
  /** Share that the classifier takes for what was asked for. */
  readonly accuracy: number;
  /** Distance to the nearest training picture over that of pictures that are held out. */
  readonly nearestRatio: number;
}

/** A run of a row. */
export interface Finished extends Evaluated {
  readonly row: string;
  readonly seed: number;
  readonly steps: number;
}

/** Means over seeds, with the standard deviation of the distance; times over those of the first row. */
export function recipeTable(
  rows: readonly Pick<RecipeRow, "name">[],
  timed: readonly Timed[],
  finished: readonly Finished[],
): Row[] {
  const [first] = timed;
  return rows.flatMap(({ name }, i): Row[] => {
    const runs = finished.filter(({ row }) => row === name);
    if (runs.length === 0) return [];
    const distances = runs.map(({ frechetDistance }) => frechetDistance);
    return [{
      "what": name,
      "Fréchet distance": mean(distances),
      "spread": deviation(distances),
      "recognised, %": 100 * mean(runs.map(({ accuracy }) => accuracy)),
      "nearest": mean(runs.map(({ nearestRatio }) => nearestRatio)),
      "steps": runs[0]!.steps,
      "time a step": timed[i]!.secondsAStep / first!.secondsAStep,
      "time a picture": timed[i]!.secondsAPicture / first!.secondsAPicture,
    }];
  });
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b) / values.length;
}

/** Of a sample; 0 of one value. */
function deviation(values: readonly number[]): number {
  const at = mean(values);
  const squares = values.reduce((sum, value) => sum + (value - at) ** 2, 0);
  return Math.sqrt(squares / Math.max(1, values.length - 1));
}
