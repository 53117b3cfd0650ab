/** Which of several variants of a kernel is the fastest, measured and checked. */
import type { TuneClock } from "./clock.ts";
import type { Launch } from "./turns.ts";

/** One class of shapes, and the variants of the kernel that computes it. */
export interface Subject<Plan> {
  /** What is measured, such as `x wT 8192 x 1152 x 384 f32`. */
  readonly shape: string;
  /** The usual one comes first. */
  readonly variants: readonly Variant<Plan>[];
}

/** One way to compute it. */
export interface Variant<Plan> {
  readonly name: string;
  readonly plan: Plan;
  readonly launch: Launch;
  /** Runs it once, and says whether what it computes is right. */
  isRight(): Promise<boolean>;
}

/** What was found of one variant. */
export interface TuneRow {
  /** Such as `product`. */
  readonly kernel: string;
  /** What was computed. */
  readonly shape: string;
  /** How. */
  readonly variant: string;
  /** Of a launch; NaN where it computes something else, which is not timed. */
  readonly milliseconds: number;
  /** Whether it is taken where nothing was measured. */
  readonly isUsual: boolean;
  /** Whether it is taken from now on. */
  readonly isChosen: boolean;
}

/** A variant has to be faster by this to be taken: plans that hardly differ are not worth a change. */
const MARGIN = 0.03;

/**
 * Times all variants that compute what they should.
 *
 * @returns The plan of the fastest, null where that is the usual one or hardly faster, and a row for
 * each variant.
 */
export async function choose<Plan>(
  kernel: string,
  { shape, variants }: Subject<Plan>,
  clock: TuneClock,
): Promise<{ plan: Plan | null; rows: TuneRow[] }> {
  const right: number[] = [];
  for (const [i, variant] of variants.entries()) if (await variant.isRight()) right.push(i);
  const found = await clock.time(right.map((i) => variants[i]!.launch));
  const times = variants.map(() => NaN);
  right.forEach((i, at) => times[i] = found[at]!);
  // A usual one that is wrong is as slow as can be.
  const usual = Number.isNaN(times[0]) ? Infinity : times[0]!;
  let best = 0;
  for (const i of right) {
    if (times[i]! < Math.min(usual * (1 - MARGIN), best === 0 ? Infinity : times[best]!)) best = i;
  }
  const rows = variants.map(({ name }, i) => ({
    kernel,
    shape,
    variant: name,
    milliseconds: times[i]!,
    isUsual: i === 0,
    isChosen: i === best,
  }));
  return { plan: best === 0 ? null : variants[best]!.plan, rows };
}
