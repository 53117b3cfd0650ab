/**
 * Timing for the benchmarks. Machines are shared and clocks move, so a figure is only good beside
 * another of the same run: measure what is compared in turns, and read the ratios.
 */

/** How long something took, in seconds a call. */
export interface Timing {
  /** The fastest batch: what the machine can do when nothing disturbs it. */
  readonly best: number;
  /** The middle batch: what to expect. */
  readonly median: number;
  /** How many calls were timed in all. */
  readonly calls: number;
}

/** What is timed: returns when the work is done, so a device has to be waited for inside. */
export type Work = () => void | Promise<void>;

/** Options of {@linkcode compare} and {@linkcode measure}. */
export interface MeasureOptions {
  /** For how long each candidate runs, in seconds; 1 when left out. */
  readonly seconds?: number;
  /** How long a batch of calls takes at least, in seconds: far above the clock's grain. */
  readonly batchSeconds?: number;
}

async function time(work: Work, calls: number): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < calls; i++) {
    const pending = work();
    if (pending !== undefined) await pending;
  }
  return (performance.now() - start) / 1000;
}

/** Warms a function up and finds how many calls fill a batch. */
async function batchSize(work: Work, seconds: number): Promise<number> {
  let calls = 1;
  await time(work, 1);
  for (;;) {
    const taken = await time(work, calls);
    if (taken >= seconds) return calls;
    calls = Math.max(calls + 1, Math.min(calls * 10, Math.ceil(calls * seconds / (taken + 1e-9))));
  }
}

/**
 * Times several ways to do one thing, batch by batch in turns, so that what disturbs one disturbs
 * all.
 *
 * @param candidates what to time, by name
 * @returns the timings, by the same names
 */
export async function compare<Name extends string>(
  candidates: Readonly<Record<Name, Work>>,
  { seconds = 1, batchSeconds = 0.02 }: MeasureOptions = {},
): Promise<Record<Name, Timing>> {
  const entries = (Object.entries(candidates) as [Name, Work][]).map(([name, work]) => ({
    name,
    work,
    calls: 0,
    samples: [] as number[],
  }));
  for (const entry of entries) entry.calls = await batchSize(entry.work, batchSeconds);
  const end = performance.now() + seconds * 1000 * entries.length;
  do {
    for (const { work, calls, samples } of entries) samples.push(await time(work, calls) / calls);
  } while (performance.now() < end);
  return Object.fromEntries(entries.map(({ name, calls, samples }) => {
    samples.sort((a, b) => a - b);
    const best = samples[0]!;
    const median = samples[samples.length >> 1]!;
    return [name, { best, median, calls: calls * samples.length }];
  })) as Record<Name, Timing>;
}

/** Times one function. */
export async function measure(work: Work, options?: MeasureOptions): Promise<Timing> {
  return (await compare({ work }, options)).work;
}

/** C libraries by system, and bytes in the unit in which each counts memory. */
const LIBC: Readonly<Partial<Record<typeof Deno.build.os, readonly [name: string, unit: number]>>> =
  { linux: ["libc.so.6", 1024], darwin: ["libSystem.B.dylib", 1] };
/** What getrusage is asked about. */
const RUSAGE = { self: 0, children: -1 } as const;
/** `ru_maxrss` in `struct rusage`, behind two times of two words each; all fields are words. */
const MAX_RSS = 4;
const RUSAGE_WORDS = 32;

/**
 * The most resident memory that this process took, or any one process that it started and waited
 * for, or that those did: what the system's kernel says (getrusage), so that no peak is missed. Linux
 * counts a process as large as the one that started it for the moment before it runs its own program.
 *
 * @returns Bytes; null on systems without that call.
 */
export function peakResidentBytes(of: keyof typeof RUSAGE): number | null {
  const [name, unit] = LIBC[Deno.build.os] ?? [];
  if (name === undefined || unit === undefined) return null;
  const libc = Deno.dlopen(name, { getrusage: { parameters: ["i32", "buffer"], result: "i32" } });
  const usage = new BigInt64Array(RUSAGE_WORDS);
  const failed = libc.symbols.getrusage(RUSAGE[of], usage) !== 0;
  libc.close();
  return failed ? null : Number(usage[MAX_RSS]!) * unit;
}

/** `1.25 ms`: a duration in the unit that suits it. */
export function duration(seconds: number): string {
  const units: [number, string][] = [[1, "s"], [1e-3, "ms"], [1e-6, "us"], [1e-9, "ns"]];
  const [size, unit] = units.find(([size]) => seconds >= size) ?? units.at(-1)!;
  return `${(seconds / size).toPrecision(3)} ${unit}`;
}

/** A row of a table: what stands in each column, by its head. */
export type Row = Readonly<Record<string, string | number>>;

/** A table as text: heads, cells, and for each column its width and whether it holds numbers. */
interface Columns {
  readonly heads: readonly string[];
  readonly cells: readonly (readonly string[])[];
  readonly widths: readonly number[];
  readonly isNumeric: readonly boolean[];
}

/** Counts are exact, other numbers have three digits. */
function columnsOf(rows: readonly Row[]): Columns {
  const heads = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cells = rows.map((row) =>
    heads.map((head) => {
      const value = row[head] ?? "";
      return typeof value === "number" && !Number.isInteger(value)
        ? String(Number(value.toPrecision(3)))
        : String(value);
    })
  );
  const isNumeric = heads.map((head) => rows.some((row) => typeof row[head] === "number"));
  const widths = heads.map((head, i) =>
    Math.max(head.length, ...cells.map((row) => row[i]!.length))
  );
  return { heads, cells, widths, isNumeric };
}

/** Rows as aligned text: the heads, a rule, numbers to the right. */
export function table(rows: readonly Row[]): string {
  const { heads, cells, widths, isNumeric } = columnsOf(rows);
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => isNumeric[i] ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!))
      .join("  ").trimEnd();
  return [line(heads), widths.map((width) => "-".repeat(width)).join("  "), ...cells.map(line)]
    .join("\n");
}

/** Rows as a table of Markdown, as `deno fmt` has it. */
export function markdown(rows: readonly Row[]): string {
  const { heads, cells, widths, isNumeric } = columnsOf(rows);
  const wide = widths.map((width) => Math.max(3, width));
  const line = (row: readonly string[]): string =>
    `| ${
      row.map((cell, i) => isNumeric[i] ? cell.padStart(wide[i]!) : cell.padEnd(wide[i]!))
        .join(" | ")
    } |`;
  const rule = wide.map((width, i) =>
    isNumeric[i] ? `${"-".repeat(width - 1)}:` : "-".repeat(width)
  );
  return [line(heads), line(rule), ...cells.map(line)].join("\n");
}

/** Where a suite puts what it found. */
export class Report {
  /** The tables so far, by title. */
  readonly tables: Record<string, readonly Row[]> = {};
  /** What is no table, by name. Plain JSON. */
  readonly facts: Record<string, unknown> = {};
  /** Of what machine the figures are, where one machine has several results: `nvidia-h100`. */
  machine: string | null = null;

  /** @param save Keeps what there is; called whenever there is more. */
  constructor(readonly save: (report: Report) => void = () => {}) {}

  /** Prints a table and keeps it. */
  add(title: string, rows: readonly Row[]): void {
    this.tables[title] = rows;
    console.log(`\n${title}\n\n${table(rows)}`);
    this.save(this);
  }

  /** Keeps what is no table. */
  note(name: string, value: unknown): void {
    this.facts[name] = value;
    this.save(this);
  }
}
