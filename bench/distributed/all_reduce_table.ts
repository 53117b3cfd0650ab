/** All-reduces by size and number of ranks, in a table. */
import type { Report } from "../measure.ts";
import type { AllReduceResult, AllReduceResults } from "./all_reduce.ts";
import { type Mpi, Ranks } from "./launch.ts";

/** Options of the parts of the suite. */
export interface PartOptions {
  readonly tiny: boolean;
  /** About how long the part takes, for one MPI. */
  readonly seconds: number;
}

/** What all-reduces take, by number of ranks. */
export type Reduced = ReadonlyMap<number, readonly AllReduceResult[]>;

const SIZES = [2 ** 12, 2 ** 16, 2 ** 18, 2 ** 20, 2 ** 22, 2 ** 24, 2 ** 26];
const TINY_SIZES = [2 ** 12, 2 ** 18];

/** Numbers of ranks that are measured. */
export const rankCounts = (tiny: boolean): readonly number[] => tiny ? [2] : [2, 4];

/** Measures them under one MPI. */
export async function allReduceTable(
  report: Report,
  mpi: Mpi,
  { tiny, seconds }: PartOptions,
): Promise<Reduced> {
  const sizes = tiny ? TINY_SIZES : SIZES;
  const found = new Map<number, readonly AllReduceResult[]>();
  for (const ranks of rankCounts(tiny)) {
    await using session = Ranks.start({ mpi, ranks, threads: 1 });
    const each = seconds / 4 / sizes.length / rankCounts(tiny).length;
    const { transport, results } = await session.run<AllReduceResults>({
      what: "all-reduce",
      sizes,
      seconds: tiny ? 0.02 : each,
    });
    found.set(ranks, results);
    report.note(mpi.name, transport);
    report.add(
      `all-reduce, ${mpi.name}, ${ranks} ranks`,
      results.map(({ bytes, alone, inARow, cores, several, products, together }) => ({
        "KB": bytes / 1024,
        "ms": alone * 1000,
        "in a row, ms": inARow * 1000,
        "in a row, MB/s": bytes / inARow / 1e6,
        "cores of a rank": cores,
        "several, ms": several * 1000,
        "products, ms": products * 1000,
        "both at once, ms": together * 1000,
        "hidden, %": 100 * (several + products - together) / several,
      })),
    );
  }
  return found;
}
