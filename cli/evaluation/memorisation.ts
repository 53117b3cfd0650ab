/**
 * Whether a model draws pictures of its own or gives back those that it was trained on. How near is
 * near differs from data to data and from picture to picture, so two things are measured against real
 * pictures: the distance to the nearest training picture, and its ratio to the mean distance of the
 * nearest ten (as in arXiv 2301.13188, section 4.2), which is small where one training picture is much
 * nearer than all others.
 */
import { findNearest, type Neighbours } from "./nearest.ts";
import { chosen, type Pictures } from "./pictures.ts";

/** Real pictures whose nearest others are looked for at most. */
const COMPARED = 2000;

/** What the nearest training pictures say of samples. */
export interface Memorisation {
  /** Median distance of samples to their nearest training picture. */
  readonly distance: number;
  /** The same of real pictures that are held out. */
  readonly heldOutDistance: number;
  /** `distance` over `heldOutDistance`: about 1 where samples are as new as real pictures are. */
  readonly ratio: number;
  /**
   * Share of samples of which one training picture stands out more than of 99 in 100 held-out
   * pictures: about 0.01 where nothing is memorised.
   */
  readonly suspicious: number;
  /** What that comes to. */
  readonly verdict: "new" | "close" | "memorised";
}

/** Smaller distances are none: a grey level of one pixel among all of them. */
const LEAST = 1 / 255 / 16;

/** The held-out pictures of 100 that stand out as far as a suspicious sample. */
const RARE = 0.01;

/**
 * Below `memorised`, or with a greater share of suspicious samples, training pictures are given back;
 * beyond `close` samples are as new as real pictures are.
 */
const LIMITS = {
  ratio: { memorised: 0.5, close: 0.8 },
  suspicious: { memorised: 0.25, close: 0.05 },
} as const;

/**
 * How far the nearest picture stands out among the nearest: its distance over their mean distance, in
 * [0, 1], small for a copy.
 */
export function standingOut({ distances }: Neighbours): number {
  const mean = distances.reduce((sum, d) => sum + d, 0) / distances.length;
  return mean === 0 ? 0 : distances[0]! / mean;
}

/** Compares samples with held-out pictures. */
export function memorisation(
  samples: readonly Neighbours[],
  heldOut: readonly Neighbours[],
): Memorisation {
  const nearest = (all: readonly Neighbours[]) => quantile(all.map((n) => n.distances[0]!), 0.5);
  const [distance, heldOutDistance] = [nearest(samples), nearest(heldOut)];
  const limit = quantile(heldOut.map(standingOut), RARE);
  const suspicious = samples.filter((n) => standingOut(n) < limit).length / samples.length;
  const ratio = Math.max(distance, LEAST) / Math.max(heldOutDistance, LEAST);
  const exceeds = (level: "memorised" | "close") =>
    ratio < LIMITS.ratio[level] || suspicious > LIMITS.suspicious[level];
  const verdict = exceeds("memorised") ? "memorised" : exceeds("close") ? "close" : "new";
  return { distance, heldOutDistance, ratio, suspicious, verdict };
}

/** The value below which a part of `values` lies. */
function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]!;
}

/** What a search among training pictures came to. */
export interface Compared {
  readonly memorisation: Memorisation;
  /** Of each sample. */
  readonly neighbours: readonly Neighbours[];
}

/** Training pictures that samples are looked for among, and real ones that they are measured against. */
export class TrainingPictures {
  readonly #pictures: Pictures;
  readonly #mirrored: boolean;
  readonly #real: readonly number[];
  /** Of real pictures, found when it is first asked for. */
  #ofReal: readonly Neighbours[] | undefined;

  /**
   * Searches nothing yet.
   *
   * @param mirrored Whether pictures are compared mirrored as well.
   * @param real Numbers of those among the pictures that samples are measured against: each is compared
   * with all others. Some of them where there are many.
   */
  constructor(pictures: Pictures, mirrored: boolean, real: readonly number[]) {
    const every = Math.ceil(real.length / COMPARED);
    [this.#pictures, this.#mirrored] = [pictures, mirrored];
    this.#real = real.filter((_, i) => i % every === 0);
  }

  /** The training pictures nearest to samples of their size, and what they say. */
  async compare(
    samples: Pictures,
    onProgress?: (done: number, total: number) => void,
  ): Promise<Compared> {
    const mirrored = this.#mirrored;
    this.#ofReal ??= await findNearest(chosen(this.#pictures, this.#real), this.#pictures, {
      mirrored,
      themselves: this.#real,
    });
    const neighbours = await findNearest(samples, this.#pictures, {
      mirrored,
      ...(onProgress ? { onProgress } : {}),
    });
    return { neighbours, memorisation: memorisation(neighbours, this.#ofReal) };
  }
}
