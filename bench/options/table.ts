/** The table of the options as the original's README has it. */
import type { Ended, Measured, Options, Setup } from "./job.ts";

/** A row of the table, as it is kept. Plain JSON. */
export interface OptionsRow extends Options, Partial<Measured> {
  /** Bytes of the device's memory, or of the process's where the device is the CPU. */
  readonly memoryBytes?: number;
  /** What took the place of figures, and why. */
  readonly note?: string;
}

/** Every combination, such that what costs most comes first. */
export const COMBINATIONS: readonly Options[] = [false, true].flatMap((features) =>
  [false, true].flatMap((mixedPrecision) =>
    [false, true].map((checkpointing) => ({ checkpointing, mixedPrecision, features }))
  )
);

/** Such as `checkpointing+fp16`, or `none`: how `--only` calls a combination. */
export function nameOf({ checkpointing, mixedPrecision, features }: Options): string {
  const on = [
    checkpointing ? "checkpointing" : "",
    mixedPrecision ? "fp16" : "",
    features ? "features" : "",
  ].filter((word) => word !== "");
  return on.join("+") || "none";
}

/** The row that came of a job. */
export function rowOf(
  options: Options,
  device: Setup["device"],
  ended: Ended<Measured> | { readonly how: "no time left"; readonly reason: string },
): OptionsRow {
  if (ended.how !== "done") {
    const { how, reason } = ended;
    return { ...options, note: [how, reason].filter((text) => text !== "").join(": ") };
  }
  const { result } = ended;
  // the memory of the CPU's device is part of the process; a GPU has its own
  const memoryBytes = device === "wasm" && result.residentBytes !== null
    ? result.residentBytes
    : result.reservedBytes;
  return { ...options, ...result, memoryBytes };
}

const HEADS = [
  "gradient checkpointing",
  "mixed precision training",
  "feature pre-extraction",
  "training speed",
  "memory",
] as const;

/** The table: of a row without figures, the cells that the original has where memory ran out. */
export function optionsTable(rows: readonly OptionsRow[]): string {
  const cells = rows.map((row) => [
    ...[row.checkpointing, row.mixedPrecision, row.features].map((on) => on ? "✔" : "❌"),
    row.stepsPerSecond === undefined ? "-" : speedText(row.stepsPerSecond),
    row.memoryBytes === undefined
      ? row.note!.split(":")[0]!
      : `${Math.round(row.memoryBytes / 1e6)} MB`,
  ]);
  const widths = HEADS.map((head, i) =>
    Math.max(head.length, ...cells.map((row) => row[i]!.length))
  );
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`;
  const rule = `|${widths.map((width) => `:${"-".repeat(width)}:`).join("|")}|`;
  return [line(HEADS), rule, ...cells.map(line)].join("\n");
}

/** Two digits behind the point, as the original has; more where that would say nothing. */
function speedText(stepsPerSecond: number): string {
  const text = stepsPerSecond < 0.1 ? stepsPerSecond.toPrecision(2) : stepsPerSecond.toFixed(2);
  return `${text} steps/sec`;
}
