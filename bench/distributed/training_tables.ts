/**
 * Training by one process and by ranks, in turns, in tables: images a second, where ranks wait, and
 * what the simulation makes of the same steps.
 */
import type { Report, Row } from "../measure.ts";
import { type PartOptions, rankCounts, type Reduced } from "./all_reduce_table.ts";
import { interpolated } from "./costs.ts";
import { type Mpi, Ranks } from "./launch.ts";
import { simulateStep, undisturbed } from "./simulate.ts";
import { countTimeline, spread, type Timeline } from "./timeline.ts";
import type { Sending, StepParts, TrainingJob, TrainingResults } from "./training.ts";

/** Threads of the one process: as many as there are ranks in the first comparison. */
const THREADS = 2;

/** Bytes of a bucket, as `deno task train` has them. */
const BUCKET_BYTES = 2 ** 20;

/** Buckets that are compared with those. */
const OTHER_BUCKETS = [2 ** 18, 2 ** 23];

/** What is trained, and its part of the time; S/4 is the smallest of the paper's. */
const JOBS = [
  { model: "DiT-Mini/4", batch: 16, part: 0.2 },
  { model: "DiT-S/4", batch: 16, part: 0.8 },
] as const;

/** Something that fits in seconds. */
const TINY = {
  part: 0,
  model: "DiT-Mini/8",
  batch: 4,
  flags: { "hidden-size": 32, "depth": 1, "num-heads": 2, "image-size": 16 },
} as const;

/** A way to take steps. */
interface Way {
  readonly name: string;
  readonly ranks: number;
  readonly sending: Sending;
  readonly bucketBytes: number;
}

/** The steps that were taken in one way, by step and rank. */
type Steps = StepParts[][];

/** Trains under one MPI, each model in turn. */
export async function trainingTables(
  report: Report,
  mpi: Mpi,
  reduced: Reduced,
  { tiny, seconds }: PartOptions,
): Promise<void> {
  const jobs = tiny ? [TINY] : JOBS;
  for (const { part, ...job } of jobs) {
    const found = await measure(mpi, job, ways(tiny), part * seconds);
    const counted = { ...job, precision: "f32", checkpointing: false } as const;
    const timeline = tiny ? null : await countTimeline(counted, BUCKET_BYTES);
    report.add(
      `training ${job.model}, batch ${job.batch}, ${mpi.name}`,
      rowsOf(job.batch, found, reduced, timeline),
    );
  }
}

function ways(tiny: boolean): Way[] {
  const one = {
    name: "one process",
    ranks: 1,
    sending: "never",
    bucketBytes: BUCKET_BYTES,
  } as const;
  const sendings = ["never", "after backward", "during backward"] as const;
  const of = rankCounts(tiny).flatMap((ranks) =>
    sendings.map((sending) => ({
      name: `${ranks} ranks, sent ${sending}`,
      ranks,
      sending,
      bucketBytes: BUCKET_BYTES,
    }))
  );
  const others = tiny ? [] : OTHER_BUCKETS.map((bucketBytes) => ({
    name: `2 ranks, buckets of ${bucketBytes / 2 ** 20} MB`,
    ranks: 2,
    sending: "during backward",
    bucketBytes,
  } as const));
  return [one, ...of, ...others];
}

/** Takes steps in every way in turns, each in processes of its own, after one of each to warm up. */
async function measure(
  mpi: Mpi,
  job: Pick<TrainingJob, "model" | "batch" | "flags">,
  ways: readonly Way[],
  seconds: number,
): Promise<Map<Way, Steps>> {
  await using stack = new AsyncDisposableStack();
  const sessions = new Map<number, Ranks>();
  for (const { ranks } of ways) {
    if (sessions.has(ranks)) continue;
    const options = ranks === 1
      ? { mpi: null, ranks, threads: THREADS }
      : { mpi, ranks, threads: 1 };
    sessions.set(ranks, stack.use(Ranks.start(options)));
  }
  const found = new Map<Way, Steps>(ways.map((way) => [way, []]));
  const end = performance.now() + seconds * 1000;
  for (let round = 0; round < 2 || performance.now() < end; round++) {
    for (const way of ways) {
      const { sending, bucketBytes } = way;
      const session = sessions.get(way.ranks)!;
      const asked: TrainingJob = { what: "training", ...job, sending, bucketBytes, steps: 1 };
      const { steps } = await session.run<TrainingResults>(asked);
      if (round > 0) found.get(way)!.push(...steps.map((ranks) => [...ranks]));
    }
  }
  return found;
}

const secondsOf = ({ passes, waiting, optimizer }: StepParts): number =>
  passes + waiting + optimizer;

/** Seconds of the slowest rank. */
const longest = (ranks: readonly StepParts[]): number => Math.max(...ranks.map(secondsOf));

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** The median step of the ranks' mean of something. */
const typical = (steps: Steps, value: (parts: StepParts) => number): number =>
  median(steps.map((ranks) => mean(ranks.map(value))));

function rowsOf(
  batch: number,
  found: ReadonlyMap<Way, Steps>,
  reduced: Reduced,
  timeline: Timeline | null,
): Row[] {
  const all = [...found];
  const one = all.find(([{ ranks }]) => ranks === 1)![1].map(longest);
  const stepsOf = (ranks: number, sending: Sending) =>
    all.find(([way]) => way.ranks === ranks && way.sending === sending)![1];
  return all.map(([way, steps]): Row => {
    const seconds = steps.map(longest);
    const row = {
      "": way.name,
      "images/s": batch / median(seconds),
      "of one process": median(seconds.map((s, i) => one[i]! / s)),
    };
    if (way.ranks === 1) return row;
    const [never, after] = [stepsOf(way.ranks, "never"), stepsOf(way.ranks, "after backward")];
    const late = median(never.map(lateness));
    const waiting = typical(steps, (parts) => parts.waiting);
    const afterwards = typical(after, (parts) => parts.waiting);
    const computing = {
      "passes, ms": 1000 * typical(steps, (parts) => parts.passes),
      "optimizer, ms": 1000 * typical(steps, (parts) => parts.optimizer),
    };
    if (way.sending === "never") return { ...row, ...computing };
    return {
      ...row,
      ...computing,
      "waiting, ms": 1000 * waiting,
      "waiting, %": 100 * waiting / typical(steps, secondsOf),
      ...(way.sending === "during backward"
        ? {
          "overlap, %": 100 * Math.min(1, Math.max(0, 1 - (waiting - late) / (afterwards - late))),
        }
        : {}),
      ...(timeline && way.bucketBytes === BUCKET_BYTES
        ? {
          "simulated images/s": batch /
            simulated(way.ranks, way.sending, never, reduced, timeline),
        }
        : {}),
    };
  });
}

/** How long ranks would wait for the slowest of them, on average, with gradients sent in no time. */
function lateness(ranks: readonly StepParts[]): number {
  const passes = ranks.map((parts) => parts.passes);
  return Math.max(...passes) - mean(passes);
}

/**
 * The median of simulated steps, one for each that was measured without sending: with the times that
 * each rank took to compute, and those of all-reduces by themselves.
 */
function simulated(
  ranks: number,
  when: Exclude<Sending, "never">,
  never: Steps,
  reduced: Reduced,
  timeline: Timeline,
): number {
  const cores = navigator.hardwareConcurrency;
  const results = reduced.get(ranks)!;
  const allReduce = interpolated(results.map(({ bytes, inARow }) => ({ bytes, seconds: inARow })));
  const coresOfReducing = results.find(({ bytes }) => bytes === BUCKET_BYTES)!.cores;
  const setup = { costs: { allReduce }, when, cores, coresOfReducing, polling: false };
  // Times were measured with all ranks at work; the simulation takes those of a rank with a core.
  const alone = (step: readonly StepParts[], part: "passes" | "optimizer") =>
    undisturbed(step.map((parts) => parts[part]), cores);
  return median(never.map((step) => {
    const [passes, optimizer] = [alone(step, "passes"), alone(step, "optimizer")];
    const times = passes.map((seconds, rank) =>
      spread(timeline, { passes: seconds, optimizer: optimizer[rank]! })
    );
    return simulateStep(times, setup).seconds;
  }));
}
