/**
 * metrics.jsonl of a run, part by part, while it may be written: lines are added at its end, and a
 * run that goes back writes it anew.
 */
import { crc32 } from "@dit/core/io";
import type { MetricsPart, RunMetrics } from "@dit/web";
import { isEvaluation } from "../../run/evaluation.ts";

/** Bytes that are read at a time. */
const PART = 1 << 18;

/** Bytes before a place that tell whether the file is still the one that was read. */
const TRACE = 64;

/** Values of a line: more, or longer names, are no run's. */
const MOST = { values: 40, letters: 40 } as const;

/** How far a file has been read. */
interface Place {
  readonly offset: number;
  /** Checksum of what stands before it. */
  readonly trace: number;
}

/** What there is of a run that has measured nothing yet. */
export const NO_METRICS: MetricsPart = {
  lines: [],
  isFromStart: true,
  next: "0-0",
  hasMore: false,
};

/** Whether a text is {@linkcode MetricsPart.next} of some part. */
export function isPlace(text: string): boolean {
  return /^[0-9a-f]{1,12}-[0-9a-f]{1,8}$/.test(text);
}

/**
 * Lines of a file after a place in it.
 *
 * @param after {@linkcode MetricsPart.next} of the part before; empty for the beginning, where it
 * begins again as well if the file is not the one that was read.
 * @returns Nothing where there is no file.
 */
export async function readMetrics(path: string, after: string): Promise<MetricsPart> {
  let file: Deno.FsFile;
  try {
    if (!(await Deno.stat(path)).isFile) return NO_METRICS;
    file = await Deno.open(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return NO_METRICS;
    throw error;
  }
  using _ = file;
  const { offset, trace } = placeOf(after);
  const isSame = offset > 0 && await traceAt(file, offset) === trace;
  const start = isSame ? offset : 0;
  const bytes = await readAt(file, start, PART);
  const end = bytes.lastIndexOf(0x0a) + 1;
  if (end === 0 && bytes.length === PART) { // no line of metrics: passed over
    return {
      lines: [],
      isFromStart: !isSame,
      next: await placeAt(file, start + PART),
      hasMore: true,
    };
  }
  const text = new TextDecoder().decode(bytes.subarray(0, end));
  return {
    lines: text.split("\n").flatMap((line) => readLine(line) ?? []),
    isFromStart: !isSame,
    next: await placeAt(file, start + end),
    hasMore: bytes.length === PART,
  };
}

/** The last whole line of training in a file, and the one before, as far as there are some. */
export async function lastMetrics(path: string): Promise<RunMetrics[]> {
  try {
    using file = await Deno.open(path);
    const { size } = await file.stat();
    const start = Math.max(0, size - 8192);
    const text = new TextDecoder().decode(await readAt(file, start, size - start));
    const whole = text.slice(start === 0 ? 0 : text.indexOf("\n") + 1, text.lastIndexOf("\n") + 1);
    const lines = whole.split("\n").flatMap((line) => readLine(line) ?? []);
    return lines.filter((line) => line["seconds"] !== undefined).slice(-2);
  } catch {
    return []; // none yet, or removed just now
  }
}

/** A line's numbers; undefined for what a killed process half wrote, and for others' lines. */
function readLine(line: string): RunMetrics | undefined {
  try {
    const parsed = JSON.parse(line);
    const values = Object.entries(parsed).filter((entry): entry is [string, number] =>
      Number.isFinite(entry[1]) && entry[0].length <= MOST.letters && /^[A-Za-z]/.test(entry[0])
    );
    const { step, ...others } = Object.fromEntries(values.slice(0, MOST.values));
    if (step === undefined) return undefined;
    if (isEvaluation(parsed)) delete others["seconds"]; // its own, not those of training
    return { step, ...others };
  } catch {
    return undefined;
  }
}

function placeOf(text: string): Place {
  const [offset = "0", trace = "0"] = isPlace(text) ? text.split("-") : [];
  return { offset: parseInt(offset, 16), trace: parseInt(trace, 16) };
}

function placeText({ offset, trace }: Place): string {
  return `${offset.toString(16)}-${trace.toString(16)}`;
}

async function placeAt(file: Deno.FsFile, offset: number): Promise<string> {
  return placeText({ offset, trace: await traceAt(file, offset) });
}

async function traceAt(file: Deno.FsFile, offset: number): Promise<number> {
  const start = Math.max(0, offset - TRACE);
  const bytes = await readAt(file, start, offset - start);
  return bytes.length < offset - start ? -1 : crc32(bytes);
}

/** `length` bytes from `offset` on, or as many as there are. */
async function readAt(file: Deno.FsFile, offset: number, length: number): Promise<Uint8Array> {
  await file.seek(offset, Deno.SeekMode.Start);
  const bytes = new Uint8Array(length);
  let filled = 0;
  while (filled < length) {
    const count = await file.read(bytes.subarray(filled));
    if (count === null) break;
    filled += count;
  }
  return bytes.subarray(0, filled);
}
