/** From values to places on a chart. */

/** A point of a curve. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Round values that divide a range into about `count` parts: multiples of 1, 2 or 5 of a power of ten. */
export function ticks(least: number, most: number, count: number): number[] {
  if (!(most > least)) return [least];
  const rough = (most - least) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough * 0.999)!;
  const first = Math.ceil(least / step - 1e-9);
  const last = Math.floor(most / step + 1e-9);
  return Array.from(
    { length: last - first + 1 },
    (_, i) => Number(((first + i) * step).toPrecision(12)),
  );
}

/** Values of a logarithmic axis: 1, 2 and 5 times powers of ten, or powers alone where they are many. */
export function logTicks(least: number, most: number, count: number): number[] {
  const all: number[] = [];
  for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(most)); power++) {
    for (const factor of [1, 2, 5]) {
      const value = Number((factor * 10 ** power).toPrecision(12));
      if (value >= least * 0.999 && value <= most * 1.001) all.push(value);
    }
  }
  if (all.length <= count + 2) return all.length >= 2 ? all : ticks(least, most, count);
  return all.filter((value) => Number.isInteger(Math.round(1e9 * Math.log10(value)) / 1e9));
}

/**
 * At most about two points for each of `columns` equal parts of a curve, the least and the greatest of
 * each, so that no peak is lost. Points are in the order of x.
 */
export function thinned(points: readonly Point[], columns: number): Point[] {
  if (points.length <= 2 * columns) return [...points];
  const [first, last] = [points[0]!.x, points.at(-1)!.x];
  const out: Point[] = [];
  for (let start = 0; start < points.length;) {
    const column = columnOf(points[start]!.x, first, last, columns);
    let [low, high, end] = [start, start, start];
    for (
      ;
      end < points.length && columnOf(points[end]!.x, first, last, columns) === column;
      end++
    ) {
      if (points[end]!.y < points[low]!.y) low = end;
      if (points[end]!.y > points[high]!.y) high = end;
    }
    const ends = low === high ? [low] : [Math.min(low, high), Math.max(low, high)];
    out.push(...ends.map((index) => points[index]!));
    start = end;
  }
  return out;
}

function columnOf(x: number, first: number, last: number, columns: number): number {
  return Math.min(columns - 1, Math.floor((x - first) / (last - first || 1) * columns));
}

/** A running mean whose window is a thirtieth of the curve: what a noisy one is about. */
export function smoothed(points: readonly Point[]): Point[] {
  const keep = 1 - 1 / Math.max(1, points.length / 30);
  let mean = points[0]?.y ?? 0;
  return points.map(({ x, y }) => ({ x, y: mean = keep * mean + (1 - keep) * y }));
}

/** The point that is nearest to a place; undefined of none. */
export function nearest(points: readonly Point[], x: number): Point | undefined {
  let [low, high] = [0, points.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle]!.x < x) low = middle + 1;
    else high = middle;
  }
  const [before, after] = [points[low - 1], points[low]];
  if (!before || !after) return after;
  return x - before.x < after.x - x ? before : after;
}
