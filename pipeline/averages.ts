/** The averages of weights that a run keeps, of which one is chosen to sample from afterwards. */
import type { EmaOptions } from "../nn/mod.ts";

/** An average. */
export interface Average {
  /** What it is called however it was written: `0.9` for `.90` too, or `power0.1`. */
  readonly name: string;
  /** How it moves. */
  readonly options: Pick<EmaOptions, "decay" | "power">;
}

/**
 * The averages that a text means: decays, and widths of power function averages, such as
 * `0.9999,0.999,power0.1`; the first one is the usual one.
 *
 * @throws {RangeError} where it means none, or one twice.
 */
export function averagesOf(text: number | string): Average[] {
  const averages = String(text).split(",").map((part): Average => {
    const given = part.trim();
    const [, power] = /^power(.+)$/.exec(given) ?? [];
    const value = given === "" ? NaN : Number(power ?? given);
    const isWidth = power !== undefined;
    if (isWidth ? !(value > 0 && value < 12 ** -0.5) : !(value >= 0 && value <= 1)) {
      throw new RangeError(
        `expected decays from 0 to 1, and power with a width below 0.28, but got "${given}"`,
      );
    }
    return isWidth
      ? { name: `power${value}`, options: { power: value } }
      : { name: `${value}`, options: { decay: value } };
  });
  const twice = averages.find(({ name }, i) => averages.findIndex((a) => a.name === name) < i);
  if (twice) throw new RangeError(`expected each average once but got "${twice.name}" twice`);
  return averages;
}

/** Where a checkpoint has an average: the first one of a run under `ema`. */
export function sectionOf({ name }: Pick<Average, "name">, index: number): string {
  if (index === 0) return "ema";
  return `ema-${name === "0" ? "0.0" : name}`; // "ema-0." begins the names of "ema-0.5." as well
}

/**
 * Steps in which an average forgets half of what it began with; null of one that forgets it all.
 *
 * @param warmup Whether its decay starts low, so that it forgets its beginning at once.
 */
export function halfLife({ options }: Average, warmup: boolean): number | null {
  const { decay } = options;
  return decay === undefined || warmup || decay === 0 ? null : Math.log(0.5) / Math.log(decay);
}
