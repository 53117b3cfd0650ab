/**
 * Progress on standard error: one line that is redrawn on a terminal, a line of its own every ten
 * seconds in a log.
 */
import { unlessClosed } from "./terminal.ts";

/** Width of the bar, in characters. */
const BAR = 24;
/** Milliseconds between two drawings. */
const REDRAW = 100;
/** Milliseconds between two lines of a log. */
const LOG_EVERY = 10_000;

/** A progress line; `using` ends it. */
export class ProgressLine implements Disposable {
  readonly #label: string;
  readonly #terminal: boolean;
  readonly #start = performance.now();
  #first: number | undefined;
  /** When the line was drawn last; a log begins with silence. */
  #drawn: number;
  #dirty = false;

  /** @param terminal Whether a line can be drawn over; that of standard error by default. */
  constructor(label: string, terminal: boolean = Deno.stderr.isTerminal()) {
    this.#label = label;
    this.#terminal = terminal;
    this.#drawn = terminal ? -Infinity : this.#start;
  }

  /**
   * Shows `done` of `total`, and how long the rest will take.
   *
   * @param total Null where it is not known.
   * @param detail Stands at the end of the line.
   * @param text How to write amounts.
   */
  show(
    done: number,
    total: number | null,
    detail = "",
    text: (amount: number) => string = String,
  ): void {
    const now = performance.now();
    this.#first ??= done;
    const last = done === total;
    if (now - this.#drawn < (this.#terminal ? REDRAW : LOG_EVERY) && !(last && this.#terminal)) {
      return;
    }
    this.#drawn = now;
    const parts = [
      total === null ? text(done) : `${bar(done / total)} ${text(done)} of ${text(total)}`,
      detail,
      total === null || last ? "" : this.#left(done, total, now),
    ];
    const line = this.#label + parts.filter((part) => part !== "").join("  ");
    write(this.#terminal ? `\r\x1b[K${line}` : `${line}\n`);
    this.#dirty = this.#terminal;
  }

  /** A message on a line of its own. */
  note(message: string): void {
    this.end();
    write(`${this.#label}${message}\n`);
  }

  /** Leaves the line as it is. */
  end(): void {
    if (this.#dirty) write("\n");
    this.#dirty = false;
  }

  [Symbol.dispose](): void {
    this.end();
  }

  #left(done: number, total: number, now: number): string {
    const came = done - this.#first!;
    return came > 0 ? `${duration((now - this.#start) / came * (total - done) / 1000)} left` : "";
  }
}

/** A warning, where a line of progress may stand: the line goes, and is drawn again below. */
export function warnAbove(message: string): void {
  write(`${Deno.stderr.isTerminal() ? "\r\x1b[K" : ""}${message}\n`);
}

function bar(part: number): string {
  const full = Math.round(Math.min(1, part) * BAR);
  return `[${"=".repeat(full)}${" ".repeat(BAR - full)}]`;
}

/** How much is done in a second, to three digits: `24.3 steps/s`, `1220 images/s`. */
export function rateText(perSecond: number, what: string): string {
  const digits = perSecond.toPrecision(3);
  return `${perSecond >= 999.5 ? Number(digits) : digits} ${what}/s`;
}

/** Such as `2.7 GB`. */
export function bytesText(bytes: number): string {
  const units = ["B", "kB", "MB", "GB"];
  let [value, unit] = [bytes, 0];
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** `4.2 s`, `42 s`, `3:07 min` or `2:05 h`. */
export function duration(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const two = (n: number): string => String(n).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)}:${two(whole % 60)} min`;
  return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)} h`;
}

function write(text: string): void {
  const bytes = new TextEncoder().encode(text);
  unlessClosed(() => {
    for (let done = 0; done < bytes.length;) done += Deno.stderr.writeSync(bytes.subarray(done));
  });
}
